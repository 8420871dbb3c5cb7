"""Connection slots in Redis: for each account and address a sorted set of slot owners, scored by the end of their leases."""

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


#: The slots of a node that dies are free after this time; a device that reconnects reuses its own slot at once.
LEASE_SECONDS: Final = 120.0
_BATCH: Final = 500

_NOW: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

#: KEYS: quotas. ARGV: lease in milliseconds, the owner, the owner whose slot counts as free, then the limit of each quota. Returns the other owners of each.
CLAIM_SCRIPT: Final = (
    _NOW
    + """
local others, is_full = {}, false
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  -- A longer lease was written while the clock was ahead: its owner renews it.
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

#: KEYS: quotas, some of them several times. ARGV: lease in milliseconds, then the owner of each.
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

#: KEYS: quotas. ARGV: lease in milliseconds, the old owner, the new owner or an empty string.
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

#: KEYS: quotas. Returns the number of owners of each.
COUNT_SCRIPT: Final = (
    _NOW
    + """
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('ZCOUNT', key, '(' .. string.format('%.0f', now), '+inf') end
return found
"""
)


class RedisConnectionSlots:
    """SharedConnectionSlots over Redis. `run` renews the leases of this node."""

    def __init__(self, guard: RedisGuard, keys: RedisLimitKeys, lease_seconds: float = LEASE_SECONDS) -> None:
        self._guard = guard
        self._node = secrets.token_hex(8)
        self._keys = keys
        self._lease_seconds = lease_seconds
        self._lease = round(lease_seconds * 1000)
        self._claim = guard.redis.register_script(CLAIM_SCRIPT)
        self._renew = guard.redis.register_script(RENEW_SCRIPT)
        self._swap = guard.redis.register_script(SWAP_SCRIPT)
        self._count = guard.redis.register_script(COUNT_SCRIPT)

    async def acquire(
        self, quotas: Mapping[SocketQuota, int], owner: SlotOwner, own_mailbox: MailboxKey
    ) -> Mapping[SocketQuota, int] | None:
        args: list[str | int] = [self._lease, self._owner_name(owner), self._owner_name(own_mailbox), *quotas.values()]
        others = await self._guard.call(lambda: self._claim(keys=self._quota_keys(quotas), args=args))
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
        """Renew all leases until cancelled, long before they end; this also restores them after Redis lost its data."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            await self.renew(held())

    async def renew(self, held: Iterable[tuple[SocketQuota, SlotOwner]]) -> None:
        """Renew these leases; none while Redis is down."""
        for part in batched(held, _BATCH):
            await self._guard.call(partial(self._renew_batch, part))

    async def _renew_batch(self, part: Sequence[tuple[SocketQuota, SlotOwner]]) -> None:
        args: list[str | int] = [self._lease, *(self._owner_name(owner) for _, owner in part)]
        await self._renew(keys=self._quota_keys(quota for quota, _ in part), args=args)

    def _quota_keys(self, quotas: Iterable[SocketQuota]) -> list[str]:
        return [self._keys.key(quota.name, quota.subject) for quota in quotas]

    def _owner_name(self, owner: SlotOwner) -> str:
        """A mailbox has one name on all nodes; a connection without a mailbox has a name of this node."""
        return str(owner) if owner >= 0 else f"{self._node}:{-owner}"
