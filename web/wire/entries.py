"""Mailbox entries as they stand on the wire, for REST and sockets, made straight from what the store gives: no shape is built on this path."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import orjson

from vyry.clock import from_milliseconds
from vyry.ids import envelope_id
from vyry.mail.envelope import HEADER_BYTES, NOBODY, Loss, facts, is_late
from vyry.mail.store import Entry
from web.wire.shapes import to_rfc3339


Octets = Callable[[bytes], object]
WireEntry = dict[str, object]

_REASONS = {loss: loss.name.lower() for loss in Loss}
_LANES = ("mail", "control")
_NOBODY = NOBODY.bytes


def wire_entries(entries: Sequence[Entry], octets: Octets, now: int) -> list[WireEntry]:
    """Entries for the wire; neighbouring losses of one reason become one tombstone. `octets` is what bytes become.

    What is late at `now` (milliseconds since 1970) is shown as expired, however fresh it was when the store gave it.
    """
    found: list[WireEntry] = []
    last: tuple[Loss, WireEntry] | None = None
    for entry in entries:
        if entry.packed is not None and not is_late(entry.packed, now):
            found.append(_envelope(entry, entry.packed, octets))
            last = None
            continue
        loss = entry.loss or (Loss.OPERATOR if entry.packed is None else Loss.EXPIRED)
        if last is not None and last[0] is loss:
            _extend(last[1], entry, octets)
            continue
        tombstone = {"reason": _REASONS[loss], "count": 1}
        row: WireEntry = {"seq": entry.seq, "throughSeq": entry.seq, "head": octets(entry.head), "tombstone": tombstone}
        found.append(row)
        last = loss, row
    return found


def _extend(row: WireEntry, entry: Entry, octets: Octets) -> None:
    tombstone = row["tombstone"]
    assert isinstance(tombstone, dict)
    row |= {"throughSeq": entry.seq, "head": octets(entry.head)}
    tombstone["count"] += 1


def _envelope(entry: Entry, packed: bytes, octets: Octets) -> WireEntry:
    sender, device, message, conversation, posted, expires, lane, kind = facts(packed)
    row: WireEntry = {
        "seq": entry.seq,
        "head": octets(entry.head),
        "envelopeId": _text(f"{envelope_id(posted, entry.number):032x}"),
        "messageId": _text(message.hex()),
        "conversationId": None,
        "lane": _LANES[lane],
        "postedAt": _moment(posted),
        "expiresAt": _moment(expires),
    }
    content = packed[HEADER_BYTES:]
    if sender == _NOBODY:
        row["notice"] = orjson.loads(content)
        return row
    row["conversationId"] = _id(conversation)
    row["senderId"] = _id(sender)
    row["senderDeviceId"] = device
    row["kind"] = kind
    row["content"] = octets(content)
    return row


@lru_cache(maxsize=65_536)
def _id(raw: bytes) -> str:
    """People and conversations come again and again."""
    return _text(raw.hex())


def _text(digits: str) -> str:
    """A UUID of 32 hexadecimal digits as it stands on the wire; several times faster than by way of uuid.UUID."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@lru_cache(maxsize=4096)
def _moment(milliseconds: int) -> str:
    return to_rfc3339(from_milliseconds(milliseconds))
