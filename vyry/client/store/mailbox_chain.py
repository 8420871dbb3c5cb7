"""The mailbox as this device has seen it: consecutive sequence numbers, each hash computed from the one before (docs/protocol.md, "Mailbox")."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from vyry.client.errors import ChainBroken
from vyry.kernel.base64_text import decode_base64
from vyry.kernel.chain import envelope_digest, first_head, next_head
from vyry.kernel.time import to_milliseconds


Entry = Mapping[str, Any]
_LANES = {"mail": 0, "control": 1}


@dataclass(frozen=True, slots=True)
class MailboxPosition:
    """The last entry that this device has stored safely."""

    seq: int
    head: bytes

    @classmethod
    def initial(cls, mailbox_id: UUID) -> "MailboxPosition":
        """The position before the first entry."""
        return cls(0, first_head(mailbox_id))

    def advance(self, entry: Entry) -> "MailboxPosition":
        """The position after this entry. Raises ChainBroken when it does not follow."""
        seq, head = entry["seq"], decode_bytes(entry["head"])
        if seq != self.seq + 1:
            raise ChainBroken(f"The node sent entry {seq} after entry {self.seq}: entries must be consecutive.")
        if "tombstone" in entry:
            # A tombstone of no entries would accept any hash, and one of fewer would repeat earlier entries.
            if entry["throughSeq"] < seq or entry["throughSeq"] - seq + 1 != entry["tombstone"]["count"]:
                raise ChainBroken(f"The tombstone at {seq} does not state a valid range of lost entries.")
            return MailboxPosition(entry["throughSeq"], head)
        if head != next_head(self.head, seq, entry_digest(entry)):
            raise ChainBroken(f"The hash of entry {seq} does not follow from the previous entry.")
        return MailboxPosition(seq, head)


@dataclass(frozen=True, slots=True)
class ProcessedPage:
    """A page of entries that is stored: the position that may be acknowledged, and the entries to discard before it, as (seq, error name)."""

    position: MailboxPosition
    discarded: tuple[tuple[int, str], ...] = ()


def entry_digest(entry: Entry) -> bytes:
    """The digest of an envelope or a notice in the chain."""
    no_id = bytes(16)
    message_id, posted_at = UUID(entry["messageId"]).bytes, parse_timestamp(entry["postedAt"])
    if "notice" in entry:
        content = orjson.dumps(entry["notice"], option=orjson.OPT_SORT_KEYS)
        facts = (no_id, 0, message_id, no_id, posted_at, _LANES["control"], 0)
        return envelope_digest(facts, sha256(content).digest())
    facts = (
        UUID(entry["senderId"]).bytes,
        entry["senderDeviceId"],
        message_id,
        UUID(entry["conversationId"]).bytes,
        posted_at,
        _lane_number(entry),
        entry["kind"],
    )
    return envelope_digest(facts, sha256(decode_bytes(entry["content"])).digest())


def _lane_number(entry: Entry) -> int:
    if entry["lane"] not in _LANES:
        raise ChainBroken(f"Entry {entry['seq']} has no known lane.")
    return _LANES[entry["lane"]]


def decode_bytes(value: str | bytes) -> bytes:
    """Bytes from the wire: base64 text in JSON, bin in MessagePack."""
    return value if isinstance(value, bytes) else decode_base64(value)


def parse_timestamp(moment: str) -> int:
    """A timestamp from the wire as ms since 1970."""
    return to_milliseconds(datetime.fromisoformat(moment))
