"""Joins the buckets of all nodes: every 50 ms in which something was taken, one call to Redis adds it to what the nodes share, and learns what the others took."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from vyry.adapters.limiter import LONGEST_DEBT, LimitKeys
from vyry.counting import Buckets, Taken
from vyry.outage import Outage


#: What the nodes may grant too much is what each of them can grant in such a moment.
INTERVAL_SECONDS: Final = 0.05
DEADLINE_SECONDS: Final = 1.0
#: Far below what Lua can unpack, and short enough not to hold up the others.
_BATCH: Final = 500
_AWAY: Final = (RedisError, OSError, TimeoutError)

#: KEYS: buckets, kept as TAKE of limiter.py keeps them: the millisecond when each is full again. ARGV: for each how many milliseconds of refilling were
#: taken, and how long an empty bucket takes. Answers for each in how many microseconds it will be full.
MERGE: Final = (
    LONGEST_DEBT
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
    """Tells the other nodes what this one took. With Redis away each goes on by what it knows; what was not told by then stays untold."""

    def __init__(self, redis: Redis, buckets: Buckets, keys: LimitKeys) -> None:
        self._buckets = buckets
        self._keys = keys
        self._merge = redis.register_script(MERGE)
        self._outage = Outage("redis", longest_seconds=1.0)

    async def run(self) -> None:
        """Tell and learn until cancelled; while nothing is taken, nothing is done."""
        while True:
            await self._buckets.news.wait()
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await self.meet()
            except _AWAY as problem:
                await asyncio.sleep(self._outage.failed(problem))
            else:
                self._outage.over()

    async def meet(self) -> None:
        """Tell what was taken since the last time, and learn how these buckets stand. Raises what the driver raises."""
        told = self._buckets.told()
        for start in range(0, len(told), _BATCH):
            await self._tell(told[start : start + _BATCH])

    async def _tell(self, part: Sequence[Taken]) -> None:
        args: list[float] = []
        for quota, _, cost in part:
            window = self._buckets.window(quota)
            args += [cost * window.seconds * 1000 / window.limit, window.seconds * 1000]
        at = time.monotonic()
        debts = await self._merge(keys=[self._keys.of(taken.quota, taken.subject) for taken in part], args=args)
        for taken, debt in zip(part, debts, strict=True):
            self._buckets.learn(taken.quota, taken.subject, debt / 1e6, at)
