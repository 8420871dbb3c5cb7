"""An envelope: opaque content with the few facts the node knows of it, its one byte form, and the hash chain (docs/protocol.md)."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from uuid import UUID

from vyry.kernel.chain import envelope_digest
from vyry.kernel.ids import ConversationId, MessageId


class Lane(IntEnum):
    """Which caps an entry counts against."""

    MAIL = 0
    CONTROL = 1
    #: What the node itself says, apart from what posts can use. On the wire, and in the chain, it is of the lane control.
    NOTICE = 2


class LossReason(IntEnum):
    """Why an entry has no envelope any more. The values are stored."""

    EXPIRED = 1
    CAP = 2
    #: Reserved for decisions of an operator: no code writes it yet.
    OPERATOR = 3
    #: The device discarded the entry.
    PARKED = 4


#: What the chain holds for an envelope that never got in.
CAP_DIGEST = sha256(b"tombstone cap").digest()
NIL_ID = UUID(int=0)
_HEADER = struct.Struct(">16sI16s16sQQBI")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one post says to one device. A notice by the node has `sender_id` NOBODY and its canonical JSON as content."""

    sender_id: UUID
    sender_device_id: int
    message_id: MessageId
    conversation_id: ConversationId | UUID
    posted_at_ms: int
    expires_at_ms: int
    lane: int
    kind: int
    content: bytes

    def __repr__(self) -> str:
        return f"Envelope(message_id={self.message_id}, {len(self.content)} bytes)"

    def pack(self) -> bytes:
        """The form that is stored: a header of fixed size, then the content."""
        return (
            _HEADER.pack(
                self.sender_id.bytes,
                self.sender_device_id,
                self.message_id.bytes,
                self.conversation_id.bytes,
                self.posted_at_ms,
                self.expires_at_ms,
                self.lane,
                self.kind,
            )
            + self.content
        )

    @classmethod
    def unpack(cls, packed: bytes) -> "Envelope":
        """The envelope that `pack` made these bytes of."""
        sender, device, message, conversation, posted, expires, lane, kind = _HEADER.unpack_from(packed)
        return cls(
            UUID(bytes=sender),
            device,
            MessageId(UUID(bytes=message)),
            UUID(bytes=conversation),
            posted,
            expires,
            lane,
            kind,
            packed[HEADER_BYTES:],
        )

    def digest(self) -> bytes:
        """What the chain holds for this envelope: SHA-256 over its facts and the hash of its content."""
        facts = (
            self.sender_id.bytes,
            self.sender_device_id,
            self.message_id.bytes,
            self.conversation_id.bytes,
            self.posted_at_ms,
            self.lane,
            self.kind,
        )
        return envelope_digest(facts, sha256(self.content).digest())


def pack_with_digest(
    header: tuple[bytes, int, bytes, bytes, int, int, int, int], content: bytes, content_hash: bytes
) -> tuple[bytes, bytes]:
    """The packed form and the digest of an envelope, straight from its facts (the order of `Envelope`, UUIDs as bytes): the path of every post."""
    sender, device, message, conversation, posted, _, lane, kind = header
    digest = envelope_digest((sender, device, message, conversation, posted, lane, kind), content_hash)
    return _HEADER.pack(*header) + content, digest


def unpack_header(packed: bytes) -> tuple[bytes, int, bytes, bytes, int, int, int, int]:
    """What `seal` was given, without the content."""
    return _HEADER.unpack_from(packed)


def is_expired(packed: bytes, now: int) -> bool:
    """Whether the life of this envelope is over at `now`, in milliseconds since 1970."""
    return bool(_HEADER.unpack_from(packed)[5] <= now)
