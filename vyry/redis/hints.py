"""What nodes say to each other over Redis: the byte form of a hint, and the scripts that decide in one step who is told.

A mailbox that is held has a leased key `where`: the node's name, a colon, the connection number. A hint on a node's channel is one byte what, 4 bytes
length of the argument, the argument (the frame of a relay, the number of a displacement, what changed), then packed mailbox keys.
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


#: KEYS: where each mailbox is. ARGV: prefix of the channels, head of the hint, then the packed key of each mailbox. Answers which were held.
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

#: KEYS: where each mailbox is. ARGV: this node, lease in milliseconds, prefix of the channels, then for each mailbox its connection and the hint for whom it
#: displaces. Answers for each the number of the newer connection that holds it already, or nothing; then the mailbox is not taken.
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

#: KEYS: where a mailbox is. ARGV: what it must still say to be deleted.
RELEASE_SCRIPT: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

_HEADER: Final = struct.Struct(">BI")
_CONNECTION: Final = struct.Struct(">Q")


class HintKind(IntEnum):
    """What a hint is about."""

    NOTIFY = 1
    RELAY = 2
    DISPLACED = 3
    CHANGED = 4
    PRESENCE = 5


@dataclass(frozen=True, slots=True)
class Hint:
    """Something said to the node that holds these mailboxes; what names no mailbox concerns the node as a whole."""

    kind: HintKind
    argument: bytes
    mailboxes: Collection[MailboxKey]

    @classmethod
    def displacement(cls, connection: int, mailboxes: Collection[MailboxKey]) -> Self:
        """Connections lower than this one have been taken over."""
        return cls(HintKind.DISPLACED, _CONNECTION.pack(connection), mailboxes)

    @property
    def connection(self) -> int:
        """The number of the connection that took over."""
        return int(_CONNECTION.unpack(self.argument)[0])

    @classmethod
    def change(cls, topic: CacheTopic, ids: Collection[UUID]) -> Self:
        """These accounts or conversations are not what they were."""
        return cls(HintKind.CHANGED, bytes([topic]) + b"".join(each.bytes for each in ids), ())

    @property
    def changes(self) -> tuple[CacheTopic, list[UUID]]:
        """What changed. Raises ValueError when that cannot be told."""
        rest = self.argument[1:]
        return CacheTopic(int.from_bytes(self.argument[:1], "big")), [
            UUID(bytes=rest[at : at + 16]) for at in range(0, len(rest), 16)
        ]

    def header(self) -> bytes:
        """All but the mailboxes."""
        return _HEADER.pack(self.kind, len(self.argument)) + self.argument

    def pack(self) -> bytes:
        """The byte form."""
        return self.header() + pack(self.mailboxes)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """The hint that `pack` made these bytes of. Raises ValueError when they cannot be one."""
        try:
            what, length = _HEADER.unpack_from(packed)
        except struct.error as problem:
            raise ValueError("too short for a hint") from problem
        rest = packed[_HEADER.size :]
        if len(rest) < length:
            raise ValueError("shorter than it says")
        mailboxes, concerns_node = rest[length:], what in (HintKind.CHANGED, HintKind.PRESENCE)
        return cls(HintKind(what), rest[:length], () if concerns_node and not mailboxes else unpack(mailboxes))
