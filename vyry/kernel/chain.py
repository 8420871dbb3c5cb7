"""The hash chain of a mailbox (docs/protocol.md, "Mailbox"): the node computes it at deposit, the device checks it."""

import struct
from hashlib import sha256
from uuid import UUID


#: The facts of an envelope that the chain covers, UUIDs as bytes: sender, sending device, message id, conversation, posted at (ms), lane, kind.
ChainedFacts = tuple[bytes, int, bytes, bytes, int, int, int]

_FACTS = struct.Struct(">16sI16s16sQBI")
_SEQ = struct.Struct(">Q")


def first_head(mailbox_id: UUID) -> bytes:
    """head_0: the head of an empty mailbox."""
    return sha256(b"vyry mailbox 1" + mailbox_id.bytes).digest()


def next_head(head: bytes, seq: int, digest: bytes) -> bytes:
    """head_n = H(head_(n-1) || n || digest)."""
    return sha256(head + _SEQ.pack(seq) + digest).digest()


def envelope_digest(facts: ChainedFacts, content_hash: bytes) -> bytes:
    """The digest of an envelope: SHA-256 over its facts and the SHA-256 of its content."""
    return sha256(_FACTS.pack(*facts) + content_hash).digest()
