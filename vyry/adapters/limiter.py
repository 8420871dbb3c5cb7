"""Limits counted in Redis, for all nodes together, by Redis' own clock; with Redis away each node counts for itself, and nobody is locked out.

One script decides over all windows of a quota at once: a refused take changes nothing. A sliding window is a hash of moments and counts; a large one rounds
its moments up to a 64th of its length, so that it never admits more than its limit and at least 98 % of it. A bucket is the moment when it is full again.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from vyry.counting import LocalLimiter
from vyry.errors import RateLimited
from vyry.limits import QUOTAS, Grant, Quota, Window
from vyry.outage import Outage


DEADLINE_SECONDS: Final = 1.0
_AWAY: Final = (RedisError, OSError, TimeoutError)
#: Windows up to this limit keep every moment to the millisecond.
_EXACT: Final = 128
_GRAINS: Final = 64

#: KEYS: one for each window. ARGV: cost, then for each window limit, length in milliseconds, grain in milliseconds (0: a bucket).
#: Answers the wait in milliseconds (0: taken), then which window is tightest, what it has left, and in how many milliseconds all of it is back.
TAKE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local cost = tonumber(ARGV[1])
local wait, tightest, least, reset = 0, 1, nil, 0
local writes = {}
for i, key in ipairs(KEYS) do
  local limit, length, grain = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local left, back
  if grain == 0 then
    local full = math.max(tonumber(redis.call('GET', key) or now), now) + cost * length / limit
    back = full - now
    wait = math.max(wait, back - length)
    left = math.floor((length - back) * limit / length + 0.000001)
    writes[i] = {'SET', key, string.format('%.3f', full), 'PX', math.ceil(math.max(back, 1))}
  else
    local used, moments, entries = cost, {}, redis.call('HGETALL', key)
    for at = 1, #entries, 2 do
      local moment, count = tonumber(entries[at]), tonumber(entries[at + 1])
      if moment + length <= now then
        redis.call('HDEL', key, entries[at])
      else
        used = used + count
        moments[#moments + 1] = {moment, count}
      end
    end
    table.sort(moments, function(one, other) return one[1] < other[1] end)
    local excess = used - limit
    for _, entry in ipairs(moments) do
      if excess <= 0 then break end
      wait = math.max(wait, entry[1] + length - now)
      excess = excess - entry[2]
    end
    if excess > 0 then wait = math.max(wait, length) end
    left = limit - used
    back = length
    writes[i] = {'HINCRBY', key, string.format('%.0f', math.ceil(now / grain) * grain), cost}
  end
  if least == nil or left < least then tightest, least, reset = i, left, back end
end
if wait >= 0.001 then return {math.ceil(wait), tightest, 0, 0} end
for i, write in ipairs(writes) do
  redis.call(unpack(write))
  if write[1] == 'HINCRBY' then redis.call('PEXPIRE', KEYS[i], math.ceil(ARGV[3 * i] * (1 + 1 / 64))) end
end
return {0, tightest, math.max(0, least), math.ceil(reset)}
"""


class RedisLimiter:
    """Limiter over Redis (or fakeredis, when the node is alone). Subjects are hashed: Redis never holds a number or an address in clear."""

    def __init__(self, redis: Redis, quotas: Mapping[str, Quota] = QUOTAS, prefix: str = "vyry") -> None:
        self._quotas = quotas
        self._prefix = prefix
        self._take = redis.register_script(TAKE)
        self._local = LocalLimiter(quotas)
        self._outage = Outage("redis")
        self._local_until = 0.0
        self._line = asyncio.Semaphore(16)

    async def take(self, quota: Quota, subject: str, cost: int = 1) -> Grant:
        windows = self._quotas.get(quota.name, quota).windows
        answer = await self._ask(quota, windows, subject, cost)
        if answer is None:
            return self._local.take(quota, subject, cost)
        wait, tightest, left, reset = answer
        if wait:
            raise RateLimited(math.ceil(wait / 1000))
        window = windows[tightest - 1]
        return Grant(window.limit, left, math.ceil(reset / 1000), window.seconds)

    async def _ask(self, quota: Quota, windows: tuple[Window, ...], subject: str, cost: int) -> list[int] | None:
        name = blake2b(subject.encode(), digest_size=16).hexdigest()
        # One slot of a Redis cluster for all windows of a subject.
        keys = [f"{self._prefix}:limit:{{{quota.name}:{name}}}:{number}" for number in range(len(windows))]
        args = [cost]
        for window in windows:
            args += (window.limit, window.seconds * 1000, _grain(window))
        # A flood waits in line here, where it is not taken for a Redis that does not answer.
        async with self._line:
            if time.monotonic() < self._local_until:
                return None
            try:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    answer: list[int] = await self._take(keys=keys, args=args)
            except _AWAY as problem:
                self._local_until = time.monotonic() + self._outage.failed(problem)
                return None
        self._outage.over()
        return answer


def _grain(window: Window) -> int:
    if window.is_bucket:
        return 0
    return 1 if window.limit <= _EXACT else max(1, window.seconds * 1000 // _GRAINS)
