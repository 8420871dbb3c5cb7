"""The archive of an account (docs/protocol.md, "Account"): its shape, and the code that streams it."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel

from vyry.accounts.export import Page
from vyry.conversations.conversations import Conversation
from vyry.mail.store import Entry as StoredEntry
from web.wire.account import Event
from web.wire.archive import (
    ExportedAccount,
    ExportedAttachment,
    ExportedBlock,
    ExportedCode,
    ExportedDevice,
    ExportedFriend,
    ExportedFriendRequest,
    ExportedHeldNotice,
    ExportedInvitation,
    ExportedInvite,
    ExportedKeySet,
    ExportedLink,
    ExportedMail,
    ExportedMailbox,
    ExportedNotice,
    ExportedPin,
    ExportedPost,
    ExportedPrekey,
    ExportedProof,
    ExportedPushReport,
    ExportedPushTarget,
    ExportedReceipts,
    ExportedRecoveryCode,
    ExportedRegistration,
    ExportedRestingName,
    ExportedSending,
    ExportedSession,
    ExportedSignupAttempt,
    ExportedSignupInvitation,
    ExportedWakeUp,
)
from web.wire.conversations import ConversationView
from web.wire.mailbox import wire_entries
from web.wire.shapes import Timestamp, WireModel, encode_json, to_rfc3339


class AccountArchive(WireModel):
    """Everything that the node stores about the account. Each section is read at its own moment."""

    format: Literal["vyry account 1"]
    exported_at: Timestamp
    account: ExportedAccount
    pin: ExportedPin | None
    devices: Sequence[ExportedDevice]
    sessions: Sequence[ExportedSession]
    push_targets: Sequence[ExportedPushTarget]
    push_reports: Sequence[ExportedPushReport]
    mailboxes: Sequence[ExportedMailbox]
    key_sets: Sequence[ExportedKeySet]
    one_time_prekeys: Sequence[ExportedPrekey]
    links: Sequence[ExportedLink]
    registrations: Sequence[ExportedRegistration]
    recovery_code: ExportedRecoveryCode | None
    signup_attempts: Sequence[ExportedSignupAttempt]
    signup_invitations: Sequence[ExportedSignupInvitation]
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


#: Sections with at most one row.
_SINGLE_SECTIONS: Final = ("account", "pin", "recovery_code")
_SECTION_SHAPES: Final[Mapping[str, type[BaseModel]]] = {
    "account": ExportedAccount,
    "pin": ExportedPin,
    "devices": ExportedDevice,
    "sessions": ExportedSession,
    "push_targets": ExportedPushTarget,
    "push_reports": ExportedPushReport,
    "mailboxes": ExportedMailbox,
    "key_sets": ExportedKeySet,
    "one_time_prekeys": ExportedPrekey,
    "links": ExportedLink,
    "registrations": ExportedRegistration,
    "recovery_code": ExportedRecoveryCode,
    "signup_attempts": ExportedSignupAttempt,
    "signup_invitations": ExportedSignupInvitation,
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
    """The archive as JSON: one chunk for its start, one for each page, one for its end."""
    yield b'{"format":"vyry account 1","exportedAt":' + orjson.dumps(to_rfc3339(at))
    section, has_rows = "", False
    async for page in pages:
        chunk = b""
        if page.section != section:
            chunk = _section_end(section) + b"," + _section_start(page.section)
            section, has_rows = page.section, False
        rows = b",".join(_encode_row(section, row) for row in page.rows)
        chunk += (b"," if has_rows and rows else b"") + (rows or (b"null" if section in _SINGLE_SECTIONS else b""))
        has_rows = has_rows or bool(rows)
        yield chunk
    yield _section_end(section) + b"}"


def _section_start(section: str) -> bytes:
    alias = AccountArchive.model_fields[section].alias
    return orjson.dumps(alias) + (b":" if section in _SINGLE_SECTIONS else b":[")


def _section_end(section: str) -> bytes:
    return b"]" if section and section not in _SINGLE_SECTIONS else b""


def _encode_row(section: str, row: Mapping[str, Any]) -> bytes:
    match row:
        case {"entry": StoredEntry() as entry, "mailbox_id": mailbox_id}:
            # Time 0: the export shows the stored entry, expired or not.
            (shown,) = wire_entries([entry], 0)
            return encode_json({"mailboxId": mailbox_id, "entry": shown})
        case {"conversation": Conversation() as conversation}:
            return _encode_shape(ConversationView.from_domain(conversation))
        case _:
            return _encode_shape(_SECTION_SHAPES[section].model_validate(dict(row), by_name=True))


def _encode_shape(shape: BaseModel) -> bytes:
    return shape.__pydantic_serializer__.to_json(shape, by_alias=True)
