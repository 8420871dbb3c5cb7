"""A mailbag: the keys of mailboxes with new envelopes, as one record of a stream. It never holds content, and its order means nothing."""

import struct
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

from vyry.ids import MailboxKey


TOPIC: Final = "vyry-mailbags"
#: 64 KB a record: far below every broker's default, so that no record is ever refused for its size.
KEYS_PER_BAG: Final = 8_000
_KEY_BYTES: Final = 8


def partition_of(mailbox: MailboxKey, partitions: int) -> int:
    """The partition whose agent owns the mailbox; part of the contract between all nodes."""
    return mailbox % partitions


def pack(mailboxes: Collection[MailboxKey]) -> bytes:
    """The keys as 8 bytes each, big-endian."""
    return struct.pack(f">{len(mailboxes)}Q", *mailboxes)


def unpack(packed: bytes) -> tuple[MailboxKey, ...]:
    """The keys that `pack` made these bytes of. Raises ValueError when they cannot be a mailbag."""
    count, rest = divmod(len(packed), _KEY_BYTES)
    if rest or not 0 < count <= KEYS_PER_BAG:
        raise ValueError(f"{len(packed)} bytes are no mailbag")
    return struct.unpack(f">{count}Q", packed)


def filled(mailboxes: Collection[MailboxKey]) -> Iterator[bytes]:
    """The packed bags that these mailboxes fill."""
    rest = iter(mailboxes)
    while bag := list(islice(rest, KEYS_PER_BAG)):
        yield pack(bag)
