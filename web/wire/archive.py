"""Shapes of the sections of an account's archive (docs/protocol.md, "Account")."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal

from web.wire.mailbox import Entry
from web.wire.messages import CopyFate, Receipt
from web.wire.shapes import Base64, Count, DeviceNumber, Id, Sha256, Timestamp, WireModel


class ExportedAccount(WireModel):
    """The account, with its phone number unmasked; `settings` has only the values that were set."""

    user_id: Id
    phone_number: str | None
    username: str | None
    display_name: str | None
    bio: str | None
    picture_attachment_id: Id | None
    sealed_profile: Base64 | None
    settings: Mapping[str, object]
    suite: str | None
    identity_key: Base64 | None
    device_list_epoch: Count
    last_device_id: Count
    created_at: Timestamp
    suspended_at: Timestamp | None


class ExportedPin(WireModel):
    """The state of the PIN."""

    registration_lock: bool
    misses: Count
    locked_until: Timestamp | None
    lock_misses: Count
    lock_locked_until: Timestamp | None
    changed_at: Timestamp


class ExportedDevice(WireModel):
    """A device, active or recently removed; `mailboxId` identifies it in the other sections."""

    device_id: DeviceNumber
    mailbox_id: Id
    registration_id: Count | None
    name: str
    platform: str
    is_primary: bool
    linked_at: Timestamp
    last_seen_on: date
    ended_at: Timestamp | None
    idle_warned_at: Timestamp | None
    session_generation: Count


class ExportedSession(WireModel):
    """A refresh token's record, without the token."""

    mailbox_id: Id
    attempt_id: Id | None
    used_at: Timestamp | None
    expires_at: Timestamp
    family_ends_at: Timestamp


class ExportedPushTarget(WireModel):
    """The push target of a device, without its secrets."""

    mailbox_id: Id
    kind: str
    endpoint: str | None
    topic: str | None


class ExportedPushReport(WireModel):
    """The last answer of a push service about a device."""

    mailbox_id: Id
    kind: str
    result: str
    status: Count
    at: Timestamp


class ExportedMailbox(WireModel):
    """The counters of a mailbox."""

    mailbox_id: Id
    seq: Count
    head: Sha256
    acknowledged_seq: Count
    acknowledged_head: Sha256
    sent_seq: Count
    mail_entries: Count
    mail_bytes: Count
    control_entries: Count
    control_bytes: Count
    notice_entries: Count
    notice_bytes: Count
    connection: Count
    is_ended: bool
    is_pushed: bool


class ExportedKeySet(WireModel):
    """The published keys of a device."""

    mailbox_id: Id
    suite: str
    identity_dh_key: Base64 | None
    identity_dh_signature: Base64 | None
    signed_prekey_id: Count
    signed_prekey: Base64
    signed_prekey_signature: Base64
    signed_prekey_at: Timestamp
    pq_last_resort_id: Count
    pq_last_resort: Base64
    pq_last_resort_signature: Base64
    last_resort_uses: Count
    issued_through_one_time: Count
    issued_through_pq: Count
    uploaded_through_one_time: Count
    uploaded_through_pq: Count
    is_low_told: bool


class ExportedPrekey(WireModel):
    """An unused one-time prekey."""

    mailbox_id: Id
    kind: Literal["ec", "pq"]
    key_id: Count
    public_key: Base64
    signature: Base64 | None


class ExportedLink(WireModel):
    """A link of a new device."""

    link_id: Id
    public_key: Base64
    name: str
    platform: str
    requested_from: str
    status: str
    approver_public_key: Base64 | None
    expires_at: Timestamp


class ExportedRegistration(WireModel):
    """A sign-up that waits for the PIN of the registration lock."""

    expires_at: Timestamp


class ExportedRecoveryCode(WireModel):
    """The recovery code's record, without the code."""

    created_at: Timestamp


class ExportedSignupAttempt(WireModel):
    """A sign-up by an invitation that can still be repeated."""

    expires_at: Timestamp


class ExportedSignupInvitation(WireModel):
    """An invitation to sign up that the account made, without its token."""

    invitation_id: Id
    label: str | None
    max_uses: Count
    uses: Count
    created_at: Timestamp
    expires_at: Timestamp
    revoked_at: Timestamp | None


class ExportedCode(WireModel):
    """A one-time code's record, without the code."""

    purpose: str
    guesses_left: Count
    is_used: bool
    created_at: Timestamp
    expires_at: Timestamp


class ExportedSending(WireModel):
    """A code that was sent; `cost` is in millionths of the operator's currency."""

    at: Timestamp
    cost: Count
    is_verified: bool


class ExportedProof(WireModel):
    """The day on which a code of the number was last verified from one network."""

    proven_on: date


class ExportedNotice(WireModel):
    """A notice that is not yet in the mailboxes."""

    at: Timestamp
    audience: Literal["own", "peers", "members"]
    body: Mapping[str, object]


class ExportedHeldNotice(WireModel):
    """A notice that waits until a mailbox has room for it."""

    mailbox_id: Id
    body: Mapping[str, object]


class ExportedRestingName(WireModel):
    """A released username that is reserved until that day; the node does not store the name."""

    free_on: date


class ExportedMail(WireModel):
    """An unacknowledged mailbox entry, as its device would collect it."""

    mailbox_id: Id
    entry: Entry


class ExportedPost(WireModel):
    """A message that a device of the account posted."""

    mailbox_id: Id
    message_id: Id
    accepted_at: Timestamp
    copies: Sequence[CopyFate | Receipt]


class ExportedReceipts(WireModel):
    """How much of the mail to a device was acknowledged, expired or dropped at that moment."""

    mailbox_id: Id
    at: Timestamp
    acknowledged: Count
    expired: Count
    dropped: Count


class ExportedFriend(WireModel):
    """A friend."""

    user_id: Id
    since: Timestamp


class ExportedFriendRequest(WireModel):
    """An open friend request."""

    user_id: Id
    at: Timestamp


class ExportedBlock(WireModel):
    """A blocked user."""

    user_id: Id
    at: Timestamp


class ExportedInvite(WireModel):
    """An invite link of the account, without its token."""

    invite_id: Id
    conversation_id: Id
    max_uses: Count
    uses: Count
    created_at: Timestamp
    expires_at: Timestamp


class ExportedInvitation(WireModel):
    """A group, and the user that the account invited, or that invited the account."""

    conversation_id: Id
    user_id: Id
    at: Timestamp


class ExportedAttachment(WireModel):
    """An uploaded file; its ciphertext is at `GET /attachments/{id}`."""

    attachment_id: Id
    length: Count
    received: Count
    created_at: Timestamp
    completed_at: Timestamp | None
    expires_at: Timestamp


class ExportedWakeUp(WireModel):
    """Push state of a device."""

    mailbox_id: Id
    due_at: Timestamp | None
    is_urgent: bool
    is_ring: bool
    wakes: Count
    attempts: Count
    rest_until: Timestamp | None
    sent_at: Timestamp | None
