"""Rate limits counted in Redis for all nodes, by the clock of Redis.

One script decides about all windows of a quota: a refused request changes nothing. A sliding window is a hash of moments and counts; a large window rounds
moments up to a 64th of its length, so it admits at most its limit and at least 98 % of it. A bucket is the moment when it is full again. An entry written
while the clock of Redis was ahead counts as if written now, so at most one window longer.
While Redis is down each node counts for itself; quotas that are fail-closed raise Unavailable (docs/operations.md).
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from vyry.limits import QUOTAS, Grant, Quota, QuotaWindow, rate_limit_error
from vyry.local_limits import LocalLimiter
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys


#: A charge may put a bucket some windows into debt. A bucket that is full even later was written while the clock of Redis was ahead.
LUA_LONGEST_DEBT: Final = """
local function longest_debt(length) return math.max(length, math.min(8 * length, 86400000)) end
"""

#: KEYS: one for each window. ARGV: cost, then for each window limit, length in milliseconds, grain in milliseconds (0: a bucket); then 1 for a charge.
#: Returns the wait in milliseconds (0: consumed), the number of the window (the one to wait for, or the tightest), what it has left, and in how many
#: milliseconds it is full again.
CONSUME_SCRIPT: Final = (
    LUA_LONGEST_DEBT
    + """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local cost = tonumber(ARGV[1])
local wait, longest, tightest, least, reset = 0, 1, 1, nil, 0
local writes = {}
for i, key in ipairs(KEYS) do
  local limit, length, grain = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local left, back
  if grain == 0 then
    local full = math.max(tonumber(redis.call('GET', key) or now), now)
    if full > now + longest_debt(length) then
      full = now + length
      redis.call('SET', key, string.format('%.3f', full), 'PX', length)
    end
    full = full + cost * length / limit
    back = full - now
    if back - length > wait then wait, longest = back - length, i end
    left = math.floor((length - back) * limit / length + 0.000001)
    writes[i] = {'SET', key, string.format('%.3f', full), 'PX', math.ceil(math.max(back, 1))}
  else
    local used, moments, entries = cost, {}, redis.call('HGETALL', key)
    for at = 1, #entries, 2 do
      local moment, count = tonumber(entries[at]), tonumber(entries[at + 1])
      if moment + length <= now then
        redis.call('HDEL', key, entries[at])
      else
        if moment > now + grain then
          redis.call('HDEL', key, entries[at])
          moment = math.ceil(now / grain) * grain
          redis.call('HINCRBY', key, string.format('%.0f', moment), count)
        end
        used = used + count
        moments[#moments + 1] = {moment, count}
      end
    end
    table.sort(moments, function(one, other) return one[1] < other[1] end)
    local excess, until_room = used - limit, 0
    for _, entry in ipairs(moments) do
      if excess <= 0 then break end
      until_room = entry[1] + length - now
      excess = excess - entry[2]
    end
    if excess > 0 then until_room = length end
    if until_room > wait then wait, longest = until_room, i end
    left = limit - used
    back = length
    writes[i] = {'HINCRBY', key, string.format('%.0f', math.ceil(now / grain) * grain), cost}
  end
  if least == nil or left < least then tightest, least, reset = i, left, back end
end
if wait >= 0.001 and ARGV[3 * #KEYS + 2] == '0' then return {math.ceil(wait), longest, 0, 0} end
for i, write in ipairs(writes) do
  redis.call(unpack(write))
  if write[1] == 'HINCRBY' then redis.call('PEXPIRE', KEYS[i], math.ceil(ARGV[3 * i] * (1 + 1 / 64))) end
end
return {0, tightest, math.max(0, least), math.ceil(reset)}
"""
)

#: KEYS: windows of any quotas. ARGV: for each limit, length and grain, as above. Returns for each what is left, and in how many milliseconds it is full again.
PEEK_SCRIPT: Final = (
    LUA_LONGEST_DEBT
    + """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local answer = {}
for i, key in ipairs(KEYS) do
  local limit, length, grain = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local left, back = limit, 0
  if grain == 0 then
    back = math.max(tonumber(redis.call('GET', key) or now) - now, 0)
    if back > longest_debt(length) then back = length end
    left = math.floor((length - back) * limit / length + 0.000001)
  else
    local entries = redis.call('HGETALL', key)
    for at = 1, #entries, 2 do
      local moment = math.min(tonumber(entries[at]), now + grain)
      if moment + length > now then
        left = left - tonumber(entries[at + 1])
        back = math.max(back, moment + length - now)
      end
    end
  end
  answer[2 * i - 1], answer[2 * i] = math.max(0, left), math.ceil(back)
end
return answer
"""
)


class RedisLimiter:
    """Limiter over Redis."""

    def __init__(
        self, guard: RedisGuard, quotas: Mapping[str, Quota] = QUOTAS, keys: RedisLimitKeys | None = None
    ) -> None:
        self._guard = guard
        self._quotas = quotas
        self._keys = keys or RedisLimitKeys()
        self._consume = guard.redis.register_script(CONSUME_SCRIPT)
        self._peek = guard.redis.register_script(PEEK_SCRIPT)
        self._local = LocalLimiter(quotas)
        self._queue = asyncio.Semaphore(16)

    async def charge(self, quota: Quota, subject: str, cost: int) -> Grant:
        quota = self._quotas.get(quota.name, quota)
        args = [cost, *_script_args([quota]), 1]
        answer = await self._call_redis(lambda: self._consume(keys=self._window_keys(quota, subject), args=args))
        if answer is None:
            return self._local.charge(quota, subject, cost)
        _, number, left, reset = answer
        return _grant(quota.windows[number - 1], left, reset)

    async def consume(self, quota: Quota, subject: str, cost: int = 1) -> Grant:
        quota = self._quotas.get(quota.name, quota)
        args = [cost, *_script_args([quota]), 0]
        answer = await self._call_redis(lambda: self._consume(keys=self._window_keys(quota, subject), args=args))
        if answer is None:
            if quota.is_fail_closed:
                raise self._guard.unavailable("The rate limiter is unavailable.")
            return self._local.consume(quota, subject, cost)
        wait, number, left, reset = answer
        if wait:
            raise rate_limit_error(quota, number - 1, wait / 1000)
        return _grant(quota.windows[number - 1], left, reset)

    async def peek(self, asked: Sequence[tuple[Quota, str]]) -> list[tuple[Grant, ...]]:
        """See QuotaReader; one call for all."""
        asked = [(self._quotas.get(quota.name, quota), subject) for quota, subject in asked]
        keys = [key for quota, subject in asked for key in self._window_keys(quota, subject)]
        args = _script_args([quota for quota, _ in asked])
        answer = await self._call_redis(lambda: self._peek(keys=keys, args=args))
        if answer is None:
            return [self._local.peek(quota, subject) for quota, subject in asked]
        pairs = zip(answer[::2], answer[1::2], strict=True)
        return [tuple(_grant(window, *next(pairs)) for window in quota.windows) for quota, _ in asked]

    def _window_keys(self, quota: Quota, subject: str) -> list[str]:
        return [self._keys.key(quota.name, subject, number) for number in range(len(quota.windows))]

    async def _call_redis(self, call: Callable[[], Awaitable[list[int]]]) -> list[int] | None:
        """Returns None while Redis is down."""
        # A flood of requests queues here, or the guard would take it for a Redis that does not answer.
        async with self._queue:
            return await self._guard.call(call)


def _grant(window: QuotaWindow, left: int, back: int) -> Grant:
    return Grant(window.limit, left, math.ceil(back / 1000), window.seconds)


def _script_args(quotas: Sequence[Quota]) -> list[int]:
    """The windows as arguments of the scripts: limit, length and grain in milliseconds."""
    windows = [window for quota in quotas for window in quota.windows]
    return [
        number for each in windows for number in (each.limit, each.seconds * 1000, round(each.grain_seconds * 1000))
    ]
