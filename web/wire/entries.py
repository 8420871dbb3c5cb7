"""Mailbox entries as they stand on the wire, for REST and sockets, made straight from what the store gives: no shape is built on this path."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import orjson

from vyry.clock import from_milliseconds
from vyry.kernel.ids import envelope_id
from vyry.mail.envelope import HEADER_BYTES, NIL_ID, LossReason, is_expired, unpack_header
from vyry.mail.store import Entry
from web.wire.shapes import to_rfc3339


BytesEncoder = Callable[[bytes], object]
WireEntry = dict[str, object]

_REASONS = {loss: loss.name.lower() for loss in LossReason}
_LANES = ("mail", "control")
_NOBODY = NIL_ID.bytes


def wire_entries(entries: Sequence[Entry], octets: BytesEncoder, now: int) -> list[WireEntry]:
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


def _extend_tombstone(row: WireEntry, entry: Entry, octets: BytesEncoder) -> None:
    tombstone = row["tombstone"]
    assert isinstance(tombstone, dict)
    row |= {"throughSeq": entry.seq, "head": octets(entry.head)}
    tombstone["count"] += 1


def _envelope(entry: Entry, packed: bytes, octets: BytesEncoder) -> WireEntry:
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
