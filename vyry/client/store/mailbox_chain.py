"""The mailbox as this device has seen it: numbers without a hole, each head made of the one before (docs/protocol.md, "Mailbox")."""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from vyry.client.errors import ChainBroken


Entry = Mapping[str, Any]
_FACTS = struct.Struct(">16sI16s16sQBI32s")
_LANES = {"mail": 0, "control": 1}


@dataclass(frozen=True, slots=True)
class MailboxPosition:
    """The last entry that is safe with this device."""

    seq: int
    head: bytes

    @classmethod
    def initial(cls, mailbox_id: UUID) -> "MailboxPosition":
        """Before everything."""
        return cls(0, sha256(b"vyry mailbox 1" + mailbox_id.bytes).digest())

    def advance(self, entry: Entry) -> "MailboxPosition":
        """The point behind this entry. Raises ChainBroken when it does not follow."""
        seq, head = entry["seq"], decode_bytes(entry["head"])
        if seq != self.seq + 1:
            raise ChainBroken(f"The node sent entry {seq} after entry {self.seq}: entries must be consecutive.")
        if "tombstone" in entry:
            # A loss of no numbers would let any head follow, and one of fewer would show again what was there before.
            if entry["throughSeq"] < seq or entry["throughSeq"] - seq + 1 != entry["tombstone"]["count"]:
                raise ChainBroken(f"The tombstone at {seq} does not state a valid range of lost entries.")
            return MailboxPosition(entry["throughSeq"], head)
        if head != sha256(self.head + seq.to_bytes(8, "big") + entry_digest(entry)).digest():
            raise ChainBroken(f"The hash of entry {seq} does not follow from the previous entry.")
        return MailboxPosition(seq, head)


@dataclass(frozen=True, slots=True)
class ProcessedPage:
    """A page of entries that is stored: the position that may be acknowledged, and the entries to discard before it, as (seq, error name)."""

    position: MailboxPosition
    discarded: tuple[tuple[int, str], ...] = ()


def entry_digest(entry: Entry) -> bytes:
    """What the chain holds for an envelope or a notice."""
    nobody = bytes(16)
    message_id, posted_at = UUID(entry["messageId"]).bytes, parse_timestamp(entry["postedAt"])
    if "notice" in entry:
        content = orjson.dumps(entry["notice"], option=orjson.OPT_SORT_KEYS)
        facts = _FACTS.pack(nobody, 0, message_id, nobody, posted_at, _LANES["control"], 0, sha256(content).digest())
        return sha256(facts).digest()
    return sha256(
        _FACTS.pack(
            UUID(entry["senderId"]).bytes,
            entry["senderDeviceId"],
            message_id,
            UUID(entry["conversationId"]).bytes,
            posted_at,
            _lane_number(entry),
            entry["kind"],
            sha256(decode_bytes(entry["content"])).digest(),
        )
    ).digest()


def _lane_number(entry: Entry) -> int:
    if entry["lane"] not in _LANES:
        raise ChainBroken(f"Entry {entry['seq']} has no known lane.")
    return _LANES[entry["lane"]]


def decode_bytes(value: str | bytes) -> bytes:
    """Bytes of the wire: base64 text in JSON, bin in MessagePack."""
    return value if isinstance(value, bytes) else base64.b64decode(value, validate=True)


def encode_base64(value: bytes) -> str:
    """Bytes as JSON has them."""
    return base64.b64encode(value).decode()


def parse_timestamp(moment: str) -> int:
    """A time of the wire as ms since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
