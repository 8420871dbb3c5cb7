"""A device's own view of its mailbox: the numbers and the hash chain, computed from docs/protocol.md, section 7 alone (not from vyry.mail.envelope)."""

import base64
import json
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID


Entry = dict[str, Any]


class BrokenChain(AssertionError):
    """The node showed entries that do not follow from what it showed before."""


def to_bytes(value: str | bytes) -> bytes:
    """Bytes of the wire: base64 text in JSON, bin in MessagePack."""
    return value if isinstance(value, bytes) else base64.b64decode(value, validate=True)


def to_milliseconds(moment: str) -> int:
    """An RFC 3339 time of the wire as milliseconds since 1970."""
    when = datetime.fromisoformat(moment)
    return round(when.timestamp() * 1000)


def entry_digest(entry: Entry) -> bytes:
    """What the chain holds for an envelope or a notice."""
    if "notice" in entry:
        sender, device, conversation, lane, kind = bytes(16), 0, bytes(16), 1, 0
        content = json.dumps(entry["notice"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    else:
        sender, device, kind = UUID(entry["senderId"]).bytes, entry["senderDeviceId"], entry["kind"]
        conversation, lane = UUID(entry["conversationId"]).bytes, {"mail": 0, "control": 1}[entry["lane"]]
        content = to_bytes(entry["content"])
    facts = [
        sender,
        device.to_bytes(4, "big"),
        UUID(entry["messageId"]).bytes,
        conversation,
        to_milliseconds(entry["postedAt"]).to_bytes(8, "big"),
        bytes([lane]),
        kind.to_bytes(4, "big"),
        sha256(content).digest(),
    ]
    return sha256(b"".join(facts)).digest()


class ChainChecker:
    """The last point a device has seen; it moves only over entries that follow."""

    def __init__(self, mailbox_id: str) -> None:
        self.mailbox_id = mailbox_id
        self.seq = 0
        self.head = sha256(b"vyry mailbox 1" + UUID(mailbox_id).bytes).digest()

    def advance(self, entry: Entry) -> None:
        """Move over one entry. Raises BrokenChain when its number or its head does not follow."""
        if entry["seq"] != self.seq + 1:
            raise BrokenChain(f"{entry['seq']} came after {self.seq}")
        head = to_bytes(entry["head"])
        if "tombstone" in entry:
            self._check_count(entry)
            self.seq, self.head = entry["throughSeq"], head
            return
        if head != sha256(self.head + entry["seq"].to_bytes(8, "big") + entry_digest(entry)).digest():
            raise BrokenChain(f"the head of {entry['seq']} does not follow")
        self.seq, self.head = entry["seq"], head

    def _check_count(self, entry: Entry) -> None:
        if entry["throughSeq"] - entry["seq"] + 1 != entry["tombstone"]["count"]:
            raise BrokenChain(f"the tombstone at {entry['seq']} miscounts")
