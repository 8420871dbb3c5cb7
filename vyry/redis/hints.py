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


#: KEYS: the location of each mailbox. ARGV: prefix of the channels, header of the hint, then the packed key of each mailbox. Returns the indexes of those
#: that have a socket.
PUBLISH_SCRIPT: Final = """
local bags, held = {}, {}
for i, where in ipairs(redis.call('MGET', unpack(KEYS))) do
  local node = where and string.match(where, '^(%x+):')
  if node then
    held[#held + 1] = i - 1
    local bag = bags[node] or {ARGV[2]}
    bag[#bag + 1] = ARGV[i + 2]
    bags[node] = bag
  end
end
for node, bag in pairs(bags) do redis.call('PUBLISH', ARGV[1] .. node, table.concat(bag)) end
return held
"""

#: KEYS: the location of each mailbox. ARGV: this node, lease in milliseconds, prefix of the channels, then for each mailbox its connection and the hint for
#: the connection that it displaces. Returns for each the number of a newer connection, which keeps the mailbox, or an empty string.
CLAIM_SCRIPT: Final = """
local newer = {}
for i, key in ipairs(KEYS) do
  local mine, hint = ARGV[2 * i + 2], ARGV[2 * i + 3]
  local node, number = string.match(redis.call('GET', key) or '', '^(%x+):(%d+)$')
  if number and tonumber(number) > tonumber(mine) then
    newer[i] = number
  else
    newer[i] = ''
    redis.call('SET', key, ARGV[1] .. ':' .. mine, 'PX', ARGV[2])
    if number and node ~= ARGV[1] then redis.call('PUBLISH', ARGV[3] .. node, hint) end
  end
end
return newer
"""

#: KEYS: the location of a mailbox. ARGV: the value that it must still have to be deleted.
RELEASE_SCRIPT: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

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
