"""Mailbox entries, notices and acknowledgements, for REST, sockets and the archive (docs/protocol.md, "Mailbox" and "Notices")."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Literal

import orjson
from pydantic import Field

from vyry.kernel.ids import envelope_id
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
    """An account this one talks to has other devices now."""

    name: Literal["devicesChanged"]
    user_id: Id
    epoch: Count
    identity_changed: bool


class DeviceLinked(WireModel):
    """The own account has one device more."""

    name: Literal["deviceLinked"]
    device_id: DeviceNumber
    device_name: str
    platform: PlatformName


class DeviceIdle(WireModel):
    """A linked device of the own account ends on that day unless it is used before."""

    name: Literal["deviceIdle"]
    device_id: DeviceNumber
    ends_on: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


class PinChanged(WireModel):
    """The PIN of the own account is another one, or there is none any more."""

    name: Literal["pinChanged"]
    change: Literal["set", "changed", "removed", "reset"]


class PinFailed(WireModel):
    """Somebody gave a wrong PIN for the own account."""

    name: Literal["pinFailed"]
    attempts_remaining: Count


class RegistrationAttempted(WireModel):
    """Somebody proved the own number and was stopped by the registration lock."""

    name: Literal["registrationAttempted"]


class TokenReused(WireModel):
    """A refresh token of a device of the own account was used twice: its sessions have ended."""

    name: Literal["tokenReused"]
    device_id: DeviceNumber


class AccountDeleted(WireModel):
    """An account this one talked to is gone."""

    name: Literal["accountDeleted"]
    user_id: Id


class ConversationChanged(WireModel):
    """A conversation is another one now, in what is said of it or in who belongs to it; who is no member any more is told too."""

    name: Literal["conversationChanged"]
    conversation_id: Id
    version: Count


class GroupInvited(WireModel):
    """The own account is invited into a group; told of the first that waits."""

    name: Literal["groupInvited"]


class CallMissed(WireModel):
    """Somebody called, and no device of the account took it."""

    name: Literal["callMissed"]
    user_id: Id
    call_id: Id


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
)
Seq = Annotated[int, Field(ge=1, le=2**53 - 1)]


class Cursor(WireModel):
    """A point of the chain: everything up to `seq`, whose head is `head`."""

    seq: Count
    head: Sha256


class EnvelopeEntry(WireModel):
    """One envelope under its number."""

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
    """Something the node itself has to say, numbered like mail."""

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
    """Why these numbers hold nothing any more, and how many they are."""

    reason: Literal["expired", "cap", "operator", "parked"]
    count: Seq


class LossEntry(WireModel):
    """Numbers `seq` to `throughSeq` are lost; `head` is that of `throughSeq`, to be adopted."""

    seq: Seq
    through_seq: Seq
    head: Sha256
    tombstone: Tombstone


Entry = EnvelopeEntry | NoticeEntry | LossEntry


class Acknowledge(WireModel):
    """Everything up to here is safe with the device; the node forgets it."""

    seq: Count
    head: Sha256


class Acknowledged(WireModel):
    """The acknowledged point after it."""

    cursor: Cursor


class Park(WireModel):
    """Discard one entry that the device cannot process."""

    seq: Seq
    #: For the client's own records; the node ignores it.
    reason: Annotated[str, Field(max_length=64)] | None = None


BytesEncoder = Callable[[bytes], object]
WireEntry = dict[str, object]
_REASONS = {loss: loss.name.lower() for loss in LossReason}
_LANES = ("mail", "control")
_NOBODY = NIL_ID.bytes


def wire_entries(entries: Sequence[StoredEntry], octets: BytesEncoder, now: int) -> list[WireEntry]:
    """Entries for the wire; neighbouring losses of one reason become one tombstone. `octets` is what bytes become.

    What is late at `now` (milliseconds since 1970) is shown as expired, however fresh it was when the store gave it.
    """
    found: list[WireEntry] = []
    last: tuple[LossReason, WireEntry] | None = None
    for entry in entries:
        if entry.packed is not None and not is_expired(entry.packed, now):
            found.append(_envelope(entry, entry.packed, octets))
            last = None
            continue
        loss = entry.loss_reason or (LossReason.OPERATOR if entry.packed is None else LossReason.EXPIRED)
        if last is not None and last[0] is loss:
            _extend_tombstone(last[1], entry, octets)
            continue
        tombstone = {"reason": _REASONS[loss], "count": 1}
        row: WireEntry = {"seq": entry.seq, "throughSeq": entry.seq, "head": octets(entry.head), "tombstone": tombstone}
        found.append(row)
        last = loss, row
    return found


def cursor_payload(cursor: StoredCursor, octets: BytesEncoder) -> dict[str, object]:
    """A cursor as `Cursor` describes it."""
    return {"seq": cursor.seq, "head": octets(cursor.head)}


def _extend_tombstone(row: WireEntry, entry: StoredEntry, octets: BytesEncoder) -> None:
    tombstone = row["tombstone"]
    assert isinstance(tombstone, dict)
    row |= {"throughSeq": entry.seq, "head": octets(entry.head)}
    tombstone["count"] += 1


def _envelope(entry: StoredEntry, packed: bytes, octets: BytesEncoder) -> WireEntry:
    sender, device, message, conversation, posted, expires, lane, kind = unpack_header(packed)
    row: WireEntry = {
        "seq": entry.seq,
        "head": octets(entry.head),
        "envelopeId": _format_uuid(f"{envelope_id(posted, entry.number):032x}"),
        "messageId": _format_uuid(message.hex()),
        "conversationId": None,
        "lane": _LANES[lane],
        "postedAt": _timestamp_text(posted),
        "expiresAt": _timestamp_text(expires),
    }
    content = packed[HEADER_BYTES:]
    if sender == _NOBODY:
        row["notice"] = orjson.loads(content)
        return row
    row["conversationId"] = _uuid_text(conversation)
    row["senderId"] = _uuid_text(sender)
    row["senderDeviceId"] = device
    row["kind"] = kind
    row["content"] = octets(content)
    return row


@lru_cache(maxsize=65_536)
def _uuid_text(raw: bytes) -> str:
    """People and conversations come again and again."""
    return _format_uuid(raw.hex())


def _format_uuid(digits: str) -> str:
    """A UUID of 32 hexadecimal digits as it stands on the wire; several times faster than by way of uuid.UUID."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@lru_cache(maxsize=4096)
def _timestamp_text(milliseconds: int) -> str:
    return to_rfc3339(from_milliseconds(milliseconds))
