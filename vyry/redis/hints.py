"""Hints between nodes: their byte form, and the scripts that find the nodes of mailboxes and publish to them.

A mailbox with a socket has a leased key `where`: name of the node, colon, connection number. A hint on the channel of a node consists of one byte kind, 4
bytes length of the argument, the argument (frame of a relay, number of a displacement, what changed), and packed mailbox keys.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self
from uuid import UUID

from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import CacheTopic
from vyry.mail.work_record import pack, unpack


_HEADER: Final = struct.Struct(">BI")
_CONNECTION: Final = struct.Struct(">Q")


class HintKind(IntEnum):
    """The kind of a hint."""

    NOTIFY = 1
    RELAY = 2
    DISPLACED = 3
    CHANGED = 4
    PRESENCE = 5
    #: The argument is the token of a question about the socket of one mailbox (vyry/redis/socket_query.py).
    DESCRIBE = 6


@dataclass(frozen=True, slots=True)
class Hint:
    """A message to the nodes with sockets of these mailboxes; CHANGED and PRESENCE name no mailbox and concern the whole node."""

    kind: HintKind
    argument: bytes
    mailboxes: Collection[MailboxKey]

    @classmethod
    def displacement(cls, connection: int, mailboxes: Collection[MailboxKey]) -> Self:
        """A newer connection has taken over: older ones are displaced."""
        return cls(HintKind.DISPLACED, _CONNECTION.pack(connection), mailboxes)

    @property
    def connection(self) -> int:
        """The number of the connection that took over."""
        return int(_CONNECTION.unpack(self.argument)[0])

    @classmethod
    def change(cls, topic: CacheTopic, ids: Collection[UUID]) -> Self:
        """These accounts or conversations have changed."""
        return cls(HintKind.CHANGED, bytes([topic]) + b"".join(each.bytes for each in ids), ())

    @property
    def changes(self) -> tuple[CacheTopic, list[UUID]]:
        """What changed. Raises ValueError if the argument is malformed."""
        rest = self.argument[1:]
        return CacheTopic(int.from_bytes(self.argument[:1], "big")), [
            UUID(bytes=rest[at : at + 16]) for at in range(0, len(rest), 16)
        ]

    def header(self) -> bytes:
        """The byte form without the mailboxes."""
        return _HEADER.pack(self.kind, len(self.argument)) + self.argument

    def pack(self) -> bytes:
        """The byte form."""
        return self.header() + pack(self.mailboxes)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Decode the bytes of `pack`. Raises ValueError if they are malformed."""
        try:
            what, length = _HEADER.unpack_from(packed)
        except struct.error as problem:
            raise ValueError("too short for a hint") from problem
        rest = packed[_HEADER.size :]
        if len(rest) < length:
            raise ValueError("shorter than its length")
        mailboxes, concerns_node = rest[length:], what in (HintKind.CHANGED, HintKind.PRESENCE)
        return cls(HintKind(what), rest[:length], () if concerns_node and not mailboxes else unpack(mailboxes))
