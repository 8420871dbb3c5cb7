"""A work record: the keys of mailboxes with undeposited envelopes, as one record of the work topic. It has no content, and its order means nothing."""

import struct
from collections.abc import Collection, Iterator
from typing import Final

from vyry.kernel.batches import batched
from vyry.kernel.ids import MailboxKey


TOPIC: Final = "vyry-mailbags"
#: 64 KB a record: far below every broker's limit.
KEYS_PER_RECORD: Final = 8_000
_KEY_BYTES: Final = 8


def partition_of(mailbox: MailboxKey, partitions: int) -> int:
    """The partition of the mailbox; all nodes compute the same."""
    return mailbox % partitions


def pack(mailboxes: Collection[MailboxKey]) -> bytes:
    """The keys as 8 bytes each, big-endian."""
    return struct.pack(f">{len(mailboxes)}Q", *mailboxes)


def unpack(packed: bytes) -> tuple[MailboxKey, ...]:
    """The keys that `pack` made these bytes of. Raises ValueError when they are not a work record."""
    count, rest = divmod(len(packed), _KEY_BYTES)
    if rest or not 0 < count <= KEYS_PER_RECORD:
        raise ValueError(f"{len(packed)} bytes are not a work record")
    return struct.unpack(f">{count}Q", packed)


def pack_records(mailboxes: Collection[MailboxKey]) -> Iterator[bytes]:
    """The packed work records for these mailboxes."""
    return (pack(batch) for batch in batched(mailboxes, KEYS_PER_RECORD))
