"""Mailbox entries, notices and acknowledgements, for REST, sockets and the archive (docs/protocol.md, "Mailbox" and "Notices")."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
import orjson
from pydantic import Field

from vyry.kernel.ids import envelope_id
from vyry.kernel.sizes import MAX_ANNOUNCEMENT
from vyry.kernel.time import from_milliseconds
from vyry.mail.envelope import HEADER_BYTES, NIL_ID, LossReason, is_expired, unpack_header
from vyry.mail.store import Cursor as StoredCursor
from vyry.mail.store import Entry as StoredEntry
from web.wire.shapes import (
    Base64,
    Count,
    DeviceNumber,
    Id,
    PlatformName,
    Sha256,
    Timestamp,
    WireModel,
    to_rfc3339,
)


class PrekeysLow(WireModel):
    """This device should upload one-time keys."""

    name: Literal["prekeysLow"]
    one_time_remaining: Count
    pq_remaining: Count


class DevicesChanged(WireModel):
    """The devices of a contact's account changed."""

    name: Literal["devicesChanged"]
    user_id: Id
    epoch: Count
    identity_changed: bool


class DeviceLinked(WireModel):
    """A device was linked to the account."""

    name: Literal["deviceLinked"]
    device_id: DeviceNumber
    device_name: str
    platform: PlatformName


class DeviceIdle(WireModel):
    """A linked device of the account is removed on that day unless it is used before."""

    name: Literal["deviceIdle"]
    device_id: DeviceNumber
    ends_on: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


class PinChanged(WireModel):
    """The account's PIN was set, changed, removed or reset."""

    name: Literal["pinChanged"]
    change: Literal["set", "changed", "removed", "reset"]


class PinFailed(WireModel):
    """A wrong PIN was given for the account."""

    name: Literal["pinFailed"]
    attempts_remaining: Count


class RegistrationAttempted(WireModel):
    """A sign-up verified the account's number and was stopped by the registration lock."""

    name: Literal["registrationAttempted"]


class TokenReused(WireModel):
    """A refresh token of a device of the account was used twice: the device's sessions have ended."""

    name: Literal["tokenReused"]
    device_id: DeviceNumber


class AccountDeleted(WireModel):
    """A contact's account was deleted."""

    name: Literal["accountDeleted"]
    user_id: Id


class ConversationChanged(WireModel):
    """A conversation's info or members changed; a removed member gets this notice too."""

    name: Literal["conversationChanged"]
    conversation_id: Id
    version: Count


class GroupInvited(WireModel):
    """The account is invited into a group; sent for the first open invitation."""

    name: Literal["groupInvited"]


class CallMissed(WireModel):
    """A call that no device of the account answered."""

    name: Literal["callMissed"]
    user_id: Id
    call_id: Id


class Announcement(WireModel):
    """A text of the operator to all devices: plain text, not encrypted, from no user. `language` is a BCP 47 tag."""

    name: Literal["announcement"]
    announcement_id: Id
    text: Annotated[str, Field(min_length=1, max_length=MAX_ANNOUNCEMENT)]
    language: Annotated[str, Field(max_length=35)] | None = None


Notice = (
    PrekeysLow
    | DevicesChanged
    | DeviceLinked
    | DeviceIdle
    | PinChanged
    | PinFailed
    | RegistrationAttempted
    | TokenReused
    | AccountDeleted
    | ConversationChanged
    | GroupInvited
    | CallMissed
    | Announcement
)
Seq = Annotated[int, Field(ge=1, le=2**53 - 1)]


class Cursor(WireModel):
    """A position in the hash chain: the entries up to `seq`, with the head of `seq`."""

    seq: Count
    head: Sha256


class EnvelopeEntry(WireModel):
    """One envelope with its sequence number."""

    seq: Seq
    head: Sha256
    envelope_id: Id
    message_id: Id
    conversation_id: Id | None
    sender_id: Id
    sender_device_id: DeviceNumber
    lane: Literal["mail", "control"]
    kind: Annotated[int, Field(ge=0, le=255)]
    content: Base64
    posted_at: Timestamp
    expires_at: Timestamp


class NoticeEntry(WireModel):
    """A notice of the node, with a sequence number like mail."""

    seq: Seq
    head: Sha256
    envelope_id: Id
    message_id: Id
    conversation_id: None
    lane: Literal["control"]
    notice: Notice
    posted_at: Timestamp
    expires_at: Timestamp


class Tombstone(WireModel):
    """The reason for the lost entries, and their count."""

    reason: Literal["expired", "cap", "operator", "parked"]
    count: Seq


class LossEntry(WireModel):
    """The entries `seq` to `throughSeq` are lost; the device continues from `head`, the head of `throughSeq`."""

    seq: Seq
    through_seq: Seq
    head: Sha256
    tombstone: Tombstone


Entry = EnvelopeEntry | NoticeEntry | LossEntry


class Acknowledge(WireModel):
    """The device has stored all entries up to here; the node deletes them."""

    seq: Count
    head: Sha256


class Acknowledged(WireModel):
    """The acknowledged cursor."""

    cursor: Cursor


class Park(WireModel):
    """Discard one entry that the device cannot process."""

    seq: Seq
    #: For the client's own records; the node ignores it.
    reason: Annotated[str, Field(max_length=64)] | None = None


_REASONS = {loss: loss.name.lower() for loss in LossReason}
_LANES = ("mail", "control")
_NODE_SENDER = NIL_ID.bytes


class _Row(msgspec.Struct, rename="camel", gc=False):
    """The base of what the node writes for a device: the same fields as the shapes above, built and encoded faster. Encoders turn bytes into base64 or bin."""


class EnvelopeRow(_Row, gc=False):
    """`EnvelopeEntry` as it is written."""

    seq: int
    head: bytes
    envelope_id: str
    message_id: str
    conversation_id: str
    lane: str
    posted_at: str
    expires_at: str
    sender_id: str
    sender_device_id: int
    kind: int
    content: bytes


class NoticeRow(_Row, gc=False):
    """`NoticeEntry` as it is written."""

    seq: int
    head: bytes
    envelope_id: str
    message_id: str
    conversation_id: None
    lane: str
    posted_at: str
    expires_at: str
    notice: Mapping[str, object]


class TombstoneRow(_Row, gc=False):
    """`Tombstone` as it is written."""

    reason: str
    count: int


class LossRow(_Row, gc=False):
    """`LossEntry` as it is written."""

    seq: int
    through_seq: int
    head: bytes
    tombstone: TombstoneRow


class CursorRow(_Row, gc=False):
    """`Cursor` as it is written."""

    seq: int
    head: bytes


EntryRow = EnvelopeRow | NoticeRow | LossRow


def wire_entries(entries: Sequence[StoredEntry], now: int) -> list[EntryRow]:
    """Entries for the wire; adjacent losses with the same reason become one tombstone.

    An envelope that is expired at `now` (milliseconds since 1970) becomes a loss, even if the store returned it before.
    """
    found: list[EntryRow] = []
    last: LossRow | None = None
    for entry in entries:
        if entry.packed is not None and not is_expired(entry.packed, now):
            found.append(_envelope(entry, entry.packed))
            last = None
            continue
        reason = _REASONS[entry.loss_reason or (LossReason.OPERATOR if entry.packed is None else LossReason.EXPIRED)]
        if last is not None and last.tombstone.reason == reason:
            last.through_seq, last.head = entry.seq, entry.head
            last.tombstone.count += 1
            continue
        last = LossRow(entry.seq, entry.seq, entry.head, TombstoneRow(reason, 1))
        found.append(last)
    return found


def cursor_payload(cursor: StoredCursor) -> CursorRow:
    """The wire form of a cursor (`Cursor`)."""
    return CursorRow(cursor.seq, cursor.head)


def _envelope(entry: StoredEntry, packed: bytes) -> EnvelopeRow | NoticeRow:
    sender, device, message, conversation, posted, expires, lane, kind = unpack_header(packed)
    number, message_id = _format_uuid(f"{envelope_id(posted, entry.number):032x}"), _format_uuid(message.hex())
    posted_at, expires_at, content = _timestamp_text(posted), _timestamp_text(expires), packed[HEADER_BYTES:]
    if sender == _NODE_SENDER:
        notice = orjson.loads(content)
        return NoticeRow(entry.seq, entry.head, number, message_id, None, _LANES[lane], posted_at, expires_at, notice)
    # Without keywords and unpacking: this line runs once for each envelope.
    return EnvelopeRow(
        entry.seq,
        entry.head,
        number,
        message_id,
        _uuid_text(conversation),
        _LANES[lane],
        posted_at,
        expires_at,
        _uuid_text(sender),
        device,
        kind,
        content,
    )


@lru_cache(maxsize=65_536)
def _uuid_text(raw: bytes) -> str:
    """The text of a UUID; cached, because the same users and conversations recur."""
    return _format_uuid(raw.hex())


def _format_uuid(digits: str) -> str:
    """The wire form of a UUID from its 32 hexadecimal digits; several times faster than uuid.UUID."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@lru_cache(maxsize=4096)
def _timestamp_text(milliseconds: int) -> str:
    return to_rfc3339(from_milliseconds(milliseconds))
