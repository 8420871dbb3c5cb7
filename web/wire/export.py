"""The archive of an account (docs/protocol.md, "The archive"): its shape, and how it is written piece by piece."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel

from vyry.accounts.export import Page
from vyry.conversations.conversations import Conversation
from vyry.mail.store import Entry as StoredEntry
from web.wire.account_life import Event
from web.wire.conversations import ConversationView
from web.wire.entries import wire_entries
from web.wire.export_circles import (
    ExportedAttachment,
    ExportedBlock,
    ExportedFriend,
    ExportedFriendRequest,
    ExportedInvitation,
    ExportedInvite,
    ExportedWakeUp,
)
from web.wire.mailbox import Entry, Head
from web.wire.messages import CopyFate, Receipt
from web.wire.shapes import Base64, Count, DeviceNumber, Id, Timestamp, WireModel, to_base64, to_rfc3339


class ExportedAccount(WireModel):
    """The account, with its number in clear; `settings` are those that were set."""

    user_id: Id
    phone_number: str
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
    """A device, live or lately ended; `mailboxId` names it in the other sections."""

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
    """A refresh token, without itself."""

    mailbox_id: Id
    attempt_id: Id | None
    used_at: Timestamp | None
    expires_at: Timestamp
    family_ends_at: Timestamp


class ExportedPushTarget(WireModel):
    """Where a device wants to be woken, without its secrets."""

    mailbox_id: Id
    kind: str
    endpoint: str | None
    topic: str | None


class ExportedMailbox(WireModel):
    """The counters of a mailbox."""

    mailbox_id: Id
    seq: Count
    head: Head
    acknowledged_seq: Count
    acknowledged_head: Head
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
    """A device that was being linked."""

    link_id: Id
    public_key: Base64
    name: str
    platform: str
    requested_from: str
    status: str
    approver_public_key: Base64 | None
    expires_at: Timestamp


class ExportedRegistration(WireModel):
    """A sign-up that the registration lock holds."""

    expires_at: Timestamp


class ExportedCode(WireModel):
    """A one-time code, without itself."""

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
    """The day on which a code of the number was last verified in some network."""

    proven_on: date


class ExportedNotice(WireModel):
    """A notice on its way into mailboxes."""

    at: Timestamp
    audience: Literal["own", "peers", "members"]
    body: Mapping[str, object]


class ExportedHeldNotice(WireModel):
    """A notice that waits until a mailbox has room for it."""

    mailbox_id: Id
    body: Mapping[str, object]


class ExportedRestingName(WireModel):
    """A username that was given up, which nobody else can take before that day; the node keeps no name."""

    free_on: date


class ExportedMail(WireModel):
    """An entry that waits in a mailbox, as its device would collect it."""

    mailbox_id: Id
    entry: Entry


class ExportedPost(WireModel):
    """A message that a device of the account posted."""

    mailbox_id: Id
    message_id: Id
    accepted_at: Timestamp
    copies: Sequence[CopyFate | Receipt]


class ExportedReceipts(WireModel):
    """How much of the mail to a device came to which end at that moment."""

    mailbox_id: Id
    at: Timestamp
    acknowledged: Count
    expired: Count
    dropped: Count


class AccountArchive(WireModel):
    """All that the node holds about the account. Each section is of a moment of its own."""

    format: Literal["vyry account 1"]
    exported_at: Timestamp
    account: ExportedAccount
    pin: ExportedPin | None
    devices: Sequence[ExportedDevice]
    sessions: Sequence[ExportedSession]
    push_targets: Sequence[ExportedPushTarget]
    mailboxes: Sequence[ExportedMailbox]
    key_sets: Sequence[ExportedKeySet]
    one_time_prekeys: Sequence[ExportedPrekey]
    links: Sequence[ExportedLink]
    registrations: Sequence[ExportedRegistration]
    codes: Sequence[ExportedCode]
    codes_sent: Sequence[ExportedSending]
    proven_networks: Sequence[ExportedProof]
    notices: Sequence[ExportedNotice]
    held_notices: Sequence[ExportedHeldNotice]
    friends: Sequence[ExportedFriend]
    friend_requests: Sequence[ExportedFriendRequest]
    friend_requests_received: Sequence[ExportedFriendRequest]
    blocks: Sequence[ExportedBlock]
    invites: Sequence[ExportedInvite]
    group_invitations: Sequence[ExportedInvitation]
    group_invitations_received: Sequence[ExportedInvitation]
    attachments: Sequence[ExportedAttachment]
    wake_ups: Sequence[ExportedWakeUp]
    resting_names: Sequence[ExportedRestingName]
    events: Sequence[Event]
    conversations: Sequence[ConversationView]
    mail: Sequence[ExportedMail]
    posts: Sequence[ExportedPost]
    receipts: Sequence[ExportedReceipts]


#: Sections of which there is one at most.
_SINGLE_SECTIONS: Final = ("account", "pin")
_SECTION_SHAPES: Final[Mapping[str, type[BaseModel]]] = {
    "account": ExportedAccount,
    "pin": ExportedPin,
    "devices": ExportedDevice,
    "sessions": ExportedSession,
    "push_targets": ExportedPushTarget,
    "mailboxes": ExportedMailbox,
    "key_sets": ExportedKeySet,
    "one_time_prekeys": ExportedPrekey,
    "links": ExportedLink,
    "registrations": ExportedRegistration,
    "codes": ExportedCode,
    "codes_sent": ExportedSending,
    "proven_networks": ExportedProof,
    "notices": ExportedNotice,
    "held_notices": ExportedHeldNotice,
    "friends": ExportedFriend,
    "friend_requests": ExportedFriendRequest,
    "friend_requests_received": ExportedFriendRequest,
    "blocks": ExportedBlock,
    "invites": ExportedInvite,
    "group_invitations": ExportedInvitation,
    "group_invitations_received": ExportedInvitation,
    "attachments": ExportedAttachment,
    "wake_ups": ExportedWakeUp,
    "resting_names": ExportedRestingName,
    "events": Event,
    "posts": ExportedPost,
    "receipts": ExportedReceipts,
}


async def write_archive(at: datetime, pages: AsyncIterator[Page]) -> AsyncGenerator[bytes, None]:
    """The archive as JSON: a piece for its beginning, one for each page, one for its end."""
    yield b'{"format":"vyry account 1","exportedAt":' + orjson.dumps(to_rfc3339(at))
    section, has_rows = "", False
    async for page in pages:
        piece = b""
        if page.section != section:
            piece = _section_end(section) + b"," + _section_start(page.section)
            section, has_rows = page.section, False
        rows = b",".join(_encode_row(section, row) for row in page.rows)
        piece += (b"," if has_rows and rows else b"") + (rows or (b"null" if section in _SINGLE_SECTIONS else b""))
        has_rows = has_rows or bool(rows)
        yield piece
    yield _section_end(section) + b"}"


def _section_start(section: str) -> bytes:
    alias = AccountArchive.model_fields[section].alias
    return orjson.dumps(alias) + (b":" if section in _SINGLE_SECTIONS else b":[")


def _section_end(section: str) -> bytes:
    return b"]" if section and section not in _SINGLE_SECTIONS else b""


def _encode_row(section: str, row: Mapping[str, Any]) -> bytes:
    match row:
        case {"entry": StoredEntry() as entry, "mailbox_id": mailbox_id}:
            # An export shows what is stored, as the store judged it.
            (shown,) = wire_entries([entry], to_base64, 0)
            return orjson.dumps({"mailboxId": str(mailbox_id), "entry": shown})
        case {"conversation": Conversation() as conversation}:
            return _encode_shape(ConversationView.from_domain(conversation))
        case _:
            return _encode_shape(_SECTION_SHAPES[section].model_validate(dict(row), by_name=True))


def _encode_shape(shape: BaseModel) -> bytes:
    return shape.__pydantic_serializer__.to_json(shape, by_alias=True)
