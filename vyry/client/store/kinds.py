"""The kinds of values in the store of a profile, and what names a value of each kind.

The texts are part of the stored format.
"""

from typing import Final


#: The first value of every store: it opens under the right key only.
CHECK: Final = "check"
#: This device: ids, long-term keys, mailbox position (`LocalDevice`).
LOCAL_DEVICE: Final = "me"
#: Access and refresh token.
TOKENS: Final = "tokens"
#: By token of an invitation: the id of the attempt to join by it, which a repetition names again.
JOIN_ATTEMPT: Final = "join attempt"
#: Hash of the id of the machine that used the profile last.
MACHINE: Final = "machine"
#: When the profile was last used, for a clock that may be wrong.
CLOCK: Final = "clock"

#: Private prekeys, by id.
SIGNED_PREKEY: Final = "signed prekey"
ONE_TIME_PREKEY: Final = "one-time prekey"
PQ_PREKEY: Final = "pq prekey"
PQ_LAST_RESORT: Final = "pq last-resort prekey"
#: Ids and dates of the signed prekeys that are kept.
SIGNED_PREKEYS: Final = "signed prekeys"
#: By kind of prekey: the highest id that the node has issued.
ISSUED_THROUGH: Final = "issued through"
#: By transcript: handshakes without one-time keys that were answered.
REPLAY: Final = "replay"
#: Work on prekeys that is due: a whole key set, more one-time keys, a rotation that was started.
KEYS_DUE: Final = "keys due"
REFILL: Final = "refill"
ROTATING: Final = "rotating"

#: By device: the sessions with it.
SESSIONS: Final = "sessions"
#: By device: the listed device that its sessions were last compared with.
MATCHED_DEVICE: Final = "device met"
#: By conversation: this device's sender key.
OWN_SENDER_KEY: Final = "own sender key"
#: By sender and conversation: sender keys of other devices.
SENDER_KEYS: Final = "sender keys"
#: By conversation: when a reader last forced a new own sender key.
FORCED_GENERATION: Final = "generation forced"

#: By account: the stored identity key; and the ids of those accounts, since names of rows are hashes.
IDENTITY: Final = "identity"
IDENTITY_ACCOUNT: Final = "identity account"
#: By account: the key whose safety number was compared.
VERIFIED: Final = "verified"
#: By account: a changed key that the node reported and that is undecided; and the ids of those accounts.
CHANGED_KEY: Final = "changed"
CHANGED_ACCOUNT: Final = "changed account"
#: By account: keys stored before others were accepted.
FORMER_KEYS: Final = "given up"
#: By account: the key whose safety number was shown last and that is not the stored one.
SHOWN_KEY: Final = "key shown"
#: By account: when a person last decided about its key.
DECIDED_AT: Final = "decided at"
#: By account: a decision made on another own device for a key that this device has not seen.
PENDING_DECISION: Final = "decision waiting"

#: By account: its verified device list, what all lists so far showed, whether devices ended lately.
DEVICE_LIST: Final = "device list"
DEVICE_HISTORY: Final = "devices seen"
DEVICES_ENDED: Final = "devices ended"
#: By account: since when its contents name another device list than the node's.
LIST_DIFFERENCE: Final = "list differs"

#: By conversation: kind and members as the node reported them; forged ones; the pin.
MEMBERS: Final = "conversation"
FORGED_CONVERSATION: Final = "conversation forged"
CONVERSATION_PIN: Final = "conversation pin"
#: By conversation: seconds after which texts disappear; whether the account wrote there.
TIMER: Final = "timer"
ANSWERED: Final = "written in"
#: By conversation: the error that stopped sending there until a person decides.
STOPPED: Final = "decision"
#: By name: the account; by account: its names.
NAME_ACCOUNT: Final = "name"
ACCOUNT_NAMES: Final = "names"
#: By account: the name that it chose for itself, as last read.
CHOSEN_NAME: Final = "name chosen"
#: Pins that a newly linked device still has to receive.
PENDING_PINS: Final = "pins due"

#: By group: its keys; work that is due; groups being created, and those created, by request.
GROUP_KEYS: Final = "group keys"
GROUP_TASK: Final = "group due"
PENDING_GROUP: Final = "group begun"
CREATED_GROUP: Final = "group made"

#: By account: its profile key, and the devices that received this account's; whether this account shows a profile.
PROFILE_KEY: Final = "profile key"
PROFILE_KEY_SENT: Final = "profile told"
PROFILE_PUBLISHED: Final = "profile shown"

#: By messageId: what is to be sent; those that go before everything else.
OUTGOING: Final = "outgoing"
OUTGOING_FIRST: Final = "outgoing first"
#: By messageId: what was sent, for retries; and a ring buffer of the latest ids.
SENT: Final = "sent"
SENT_SLOT: Final = "sent place"
#: By messageId: posts of this device; and a ring buffer of the latest ids.
POSTED: Final = "posted"
POSTED_SLOT: Final = "posted place"
#: The last number used in each of these.
OUTGOING_NUMBER: Final = "outgoing number"
SENT_NUMBER: Final = "sent number"
POSTED_NUMBER: Final = "posted number"
HELD_NUMBER: Final = "held number"
#: By number: envelopes under a changed identity key that wait for a decision.
HELD: Final = "held"
#: By conversation and account: receipts to send.
DELIVERY_RECEIPTS_DUE: Final = "receipt due"
READ_RECEIPTS_DUE: Final = "read due"
#: By device: envelopes requested from it again, and those it requested.
RETRIES_ASKED: Final = "asked"
RETRIES_ANSWERED: Final = "answered"

#: By content: that it is known; that it was read; its receipts.
KNOWN_CONTENT: Final = "said"
READ: Final = "read"
RECEIPTS: Final = "receipts"
#: By digest: events that are added once in 30 days.
ADDED_ONCE: Final = "event added"
#: By event: how often its handler failed; why it is a dead letter.
HANDLER_FAILURES: Final = "handler raised"
DEAD_LETTER: Final = "dead letter"
#: By hash of the file: an upload that is not finished; by text and file: the id of its message.
UPLOAD: Final = "upload"
FILE_CONTENT_ID: Final = "file said"

#: By conversation: the title last read; a restored conversation; by account: restored direct conversations with it.
CONVERSATION_TITLE: Final = "title"
ARCHIVED_CONVERSATION: Final = "archived conversation"
ARCHIVED_DIRECTS: Final = "archived directs"
#: A history offered to a new device; one that this new device awaits; the archive on the node.
HISTORY_OFFER: Final = "history offer"
HISTORY_AWAITED: Final = "history awaited"
HISTORY_SENT: Final = "history sent"
#: The import of a history that is not finished; by frame: the events that it added.
HISTORY_IMPORT: Final = "history import"
HISTORY_IMPORTED: Final = "history imported"
#: The recovery key of the backups of this profile.
RECOVERY_KEY: Final = "recovery key"
