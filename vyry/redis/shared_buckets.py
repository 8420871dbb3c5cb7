"""Merges the buckets of all nodes: every 50 ms with consumption, one call adds it to the shared buckets in Redis and returns their state."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from vyry.kernel.batches import batched
from vyry.local_limits import BucketLimiter, Consumption
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys


#: Together the nodes may exceed a limit by what each of them can grant in this time.
INTERVAL_SECONDS: Final = 0.05
#: Far below the limit of unpack in Lua, and few enough not to delay other calls.
_BATCH: Final = 500


class SharedBuckets:
    """Shares the consumption of this node. While Redis is down each node limits by what it knows; consumption in a failed call is not shared."""

    def __init__(self, guard: RedisGuard, buckets: BucketLimiter, keys: RedisLimitKeys) -> None:
        self._guard = guard
        self._buckets = buckets
        self._keys = keys
        self._merge = guard.load_script("clock", "limits_common", "limits_merge")

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
