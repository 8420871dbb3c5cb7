"""Merges the buckets of all nodes: every 50 ms with consumption, one call adds it to the shared buckets in Redis and returns their state."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from vyry.kernel.batches import batched
from vyry.local_limits import BucketLimiter, Consumption
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys
from vyry.redis.limiter import LUA_LONGEST_DEBT


#: Together the nodes may exceed a limit by what each of them can grant in this time.
INTERVAL_SECONDS: Final = 0.05
#: Far below the limit of unpack in Lua, and few enough not to delay other calls.
_BATCH: Final = 500

#: KEYS: buckets as CONSUME_SCRIPT stores them: the millisecond when each is full again. ARGV: for each how many milliseconds of refilling were consumed, and
#: how long an empty bucket takes to fill. Returns for each in how many microseconds it will be full.
MERGE_SCRIPT: Final = (
    LUA_LONGEST_DEBT
    + """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local answer = {}
for i, key in ipairs(KEYS) do
  local full, length = math.max(tonumber(redis.call('GET', key) or now), now), tonumber(ARGV[2 * i])
  if full > now + longest_debt(length) then full = now + length end
  full = full + tonumber(ARGV[2 * i - 1])
  redis.call('SET', key, string.format('%.3f', full), 'PX', math.ceil(math.max(full - now, 1)))
  answer[i] = math.ceil((full - now) * 1000)
end
return answer
"""
)


class SharedBuckets:
    """Shares the consumption of this node. While Redis is down each node limits by what it knows; consumption in a failed call is not shared."""

    def __init__(self, guard: RedisGuard, buckets: BucketLimiter, keys: RedisLimitKeys) -> None:
        self._guard = guard
        self._buckets = buckets
        self._keys = keys
        self._merge = guard.redis.register_script(MERGE_SCRIPT)

    async def run(self) -> None:
        """Share until cancelled; without consumption it only waits."""
        while True:
            await self._buckets.has_consumed.wait()
            await asyncio.sleep(INTERVAL_SECONDS)
            if await self._guard.call(self.sync) is None:
                await asyncio.sleep(self._guard.seconds_until_retry)

    async def sync(self) -> int:
        """Add what this node consumed since the last call to the shared buckets, and take over their state; returns how many. Raises what the driver raises."""
        consumed = self._buckets.pop_consumed()
        for part in batched(consumed, _BATCH):
            await self._merge_batch(part)
        return len(consumed)

    async def _merge_batch(self, part: Sequence[Consumption]) -> None:
        args: list[float] = []
        for quota, _, cost in part:
            window = self._buckets.window(quota)
            args += [cost * window.seconds * 1000 / window.limit, window.seconds * 1000]
        at = time.monotonic()
        debts = await self._merge(keys=[self._keys.key(taken.quota, taken.subject) for taken in part], args=args)
        for taken, debt in zip(part, debts, strict=True):
            self._buckets.merge(taken.quota, taken.subject, debt / 1e6, at)
