"""Places of sockets in Redis: a sorted set of holders for each account and address, each with the end of its lease."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from vyry.kernel.batches import batched
from vyry.kernel.ids import MailboxKey
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys
from vyry.signals.socket_quotas import SlotOwner, SocketQuota


#: The places of a node that dies are free after this time. Whoever comes back to its own place need not wait for that.
LEASE_SECONDS: Final = 120.0
_BATCH: Final = 500

_NOW: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

#: KEYS: rooms. ARGV: lease in milliseconds, who enters, whose place counts as free, then the size of each room. Answers how many others are in each.
CLAIM_SCRIPT: Final = (
    _NOW
    + """
local others, is_full = {}, false
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  -- A lease of longer than a lease is of a clock that was ahead: whoever is there renews it.
  redis.call('ZREMRANGEBYSCORE', key, '(' .. string.format('%.0f', now + ARGV[1]), '+inf')
  others[i] = redis.call('ZCARD', key) - (redis.call('ZSCORE', key, ARGV[3]) and 1 or 0)
  if others[i] >= tonumber(ARGV[i + 3]) then is_full = true end
end
if not is_full then
  for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[1], ARGV[2])
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return others
"""
)

#: KEYS: rooms, some of them several times. ARGV: lease in milliseconds, then for each who is in it.
RENEW_SCRIPT: Final = (
    _NOW
    + """
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + ARGV[1], ARGV[i + 1])
  redis.call('PEXPIRE', key, ARGV[1])
end
return 0
"""
)

#: KEYS: rooms. ARGV: lease in milliseconds, who leaves, who comes instead (or nobody).
SWAP_SCRIPT: Final = (
    _NOW
    + """
for _, key in ipairs(KEYS) do
  redis.call('ZREM', key, ARGV[2])
  if ARGV[3] ~= '' then
    redis.call('ZADD', key, now + ARGV[1], ARGV[3])
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return 0
"""
)

#: KEYS: rooms. Answers how many are in each.
COUNT_SCRIPT: Final = (
    _NOW
    + """
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('ZCOUNT', key, '(' .. string.format('%.0f', now), '+inf') end
return found
"""
)


class RedisConnectionSlots:
    """SharedPlaces over Redis. `run` renews the leases of what this node holds."""

    def __init__(self, guard: RedisGuard, keys: RedisLimitKeys, lease_seconds: float = LEASE_SECONDS) -> None:
        self._guard = guard
        self._node = secrets.token_hex(8)
        self._keys = keys
        self._lease_seconds = lease_seconds
        self._lease = round(lease_seconds * 1000)
        self._enter = guard.redis.register_script(CLAIM_SCRIPT)
        self._renew = guard.redis.register_script(RENEW_SCRIPT)
        self._swap = guard.redis.register_script(SWAP_SCRIPT)
        self._count = guard.redis.register_script(COUNT_SCRIPT)

    async def acquire(
        self, quotas: Mapping[SocketQuota, int], owner: SlotOwner, own_mailbox: MailboxKey
    ) -> Mapping[SocketQuota, int] | None:
        args: list[str | int] = [self._lease, self._owner_name(owner), self._owner_name(own_mailbox), *quotas.values()]
        others = await self._guard.call(lambda: self._enter(keys=self._quota_keys(quotas), args=args))
        return None if others is None else dict(zip(quotas, others, strict=True))

    async def transfer(self, quotas: Sequence[SocketQuota], old_owner: SlotOwner, new_owner: SlotOwner | None) -> None:
        args: list[str | int] = [
            self._lease,
            self._owner_name(old_owner),
            "" if new_owner is None else self._owner_name(new_owner),
        ]
        await self._guard.call(lambda: self._swap(keys=self._quota_keys(quotas), args=args))

    async def count(self, quotas: Sequence[SocketQuota]) -> Sequence[int] | None:
        return await self._guard.call(lambda: self._count(keys=self._quota_keys(quotas)))

    async def run(self, held: Callable[[], Iterable[tuple[SocketQuota, SlotOwner]]]) -> None:
        """Renew what is held until cancelled: long before a lease ends, and so also soon after Redis forgot everything."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            await self.renew(held())

    async def renew(self, held: Iterable[tuple[SocketQuota, SlotOwner]]) -> None:
        """Renew these leases; while Redis is away, none."""
        for part in batched(held, _BATCH):
            await self._guard.call(partial(self._renew_batch, part))

    async def _renew_batch(self, part: Sequence[tuple[SocketQuota, SlotOwner]]) -> None:
        args: list[str | int] = [self._lease, *(self._owner_name(holder) for _, holder in part)]
        await self._renew(keys=self._quota_keys(room for room, _ in part), args=args)

    def _quota_keys(self, rooms: Iterable[SocketQuota]) -> list[str]:
        return [self._keys.key(room.name, room.subject) for room in rooms]

    def _owner_name(self, holder: SlotOwner) -> str:
        """A mailbox has one name on all nodes; what is only this node's has a name that no other node gives."""
        return str(holder) if holder >= 0 else f"{self._node}:{-holder}"
