"""An envelope: opaque content with a fixed header, and its stored form (docs/protocol.md)."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from uuid import UUID

from vyry.kernel.chain import envelope_digest
from vyry.kernel.ids import ConversationId, MessageId


class Lane(IntEnum):
    """The class of an entry, with caps of its own."""

    MAIL = 0
    CONTROL = 1
    #: Notices of the node. On the wire and in the hash chain they are in the lane control.
    NOTICE = 2


class LossReason(IntEnum):
    """Why an entry has no envelope any more. The values are stored."""

    EXPIRED = 1
    CAP = 2
    #: The operator dropped the envelope (`vyry mailbox drop`).
    OPERATOR = 3
    #: The device discarded the entry.
    PARKED = 4


#: The digest in the chain for an envelope that was over a cap at deposit.
CAP_DIGEST = sha256(b"tombstone cap").digest()
NIL_ID = UUID(int=0)
_HEADER = struct.Struct(">16sI16s16sQQBI")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True)
class Envelope:
    """The copy of a post for one device. A notice of the node has NIL_ID as `sender_id` and canonical JSON as content."""

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
        """The envelope that `pack` turned into these bytes."""
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
        """The digest of this envelope in the hash chain."""
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
    """The packed form and the digest of an envelope, from its header (the fields of `Envelope` in order, UUIDs as bytes): the fast path of a post."""
    sender, device, message, conversation, posted, _, lane, kind = header
    digest = envelope_digest((sender, device, message, conversation, posted, lane, kind), content_hash)
    return _HEADER.pack(*header) + content, digest


def unpack_header(packed: bytes) -> tuple[bytes, int, bytes, bytes, int, int, int, int]:
    """The header that `pack_with_digest` got."""
    return _HEADER.unpack_from(packed)


def is_expired(packed: bytes, now: int) -> bool:
    """Whether this envelope has expired at `now` (milliseconds since 1970)."""
    return bool(_HEADER.unpack_from(packed)[5] <= now)
