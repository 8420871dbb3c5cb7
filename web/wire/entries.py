"""Mailbox entries as they stand on the wire, for REST and sockets, made straight from what the store gives: no shape is built on this path."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import orjson

from vyry.clock import from_milliseconds
from vyry.ids import envelope_id
from vyry.mail.envelope import NOBODY, Envelope, Loss
from vyry.mail.store import Entry
from web.wire.shapes import to_rfc3339


Octets = Callable[[bytes], object]
WireEntry = dict[str, object]

_REASONS = {loss: loss.name.lower() for loss in Loss}
_LANES = ("mail", "control")


def wire_entries(entries: Sequence[Entry], octets: Octets) -> list[WireEntry]:
    """Entries for the wire; neighbouring losses of one reason become one tombstone. `octets` is what bytes become."""
    found: list[WireEntry] = []
    last: tuple[Loss, WireEntry] | None = None
    for entry in entries:
        if entry.packed is not None:
            found.append(_envelope(entry, Envelope.unpack(entry.packed), octets))
            last = None
            continue
        loss = entry.loss or Loss.OPERATOR
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


def _envelope(entry: Entry, envelope: Envelope, octets: Octets) -> WireEntry:
    row: WireEntry = {
        "seq": entry.seq,
        "head": octets(entry.head),
        "envelopeId": str(envelope_id(envelope.posted_at_ms, entry.number)),
        "messageId": str(envelope.message_id),
        "conversationId": None,
        "lane": _LANES[envelope.lane],
        "postedAt": _moment(envelope.posted_at_ms),
        "expiresAt": _moment(envelope.expires_at_ms),
    }
    if envelope.sender_id == NOBODY:
        return row | {"notice": orjson.loads(envelope.content)}
    row["conversationId"] = str(envelope.conversation_id)
    row["senderId"] = str(envelope.sender_id)
    row["senderDeviceId"] = envelope.sender_device_id
    row["kind"] = envelope.kind
    row["content"] = octets(envelope.content)
    return row


@lru_cache(maxsize=4096)
def _moment(milliseconds: int) -> str:
    return to_rfc3339(from_milliseconds(milliseconds))
