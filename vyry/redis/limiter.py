"""Rate limits counted in Redis for all nodes, by the clock of Redis.

One script decides about all windows of a quota: a refused request changes nothing. A sliding window is a hash of moments and counts; a large window rounds
moments up to a 64th of its length, so it admits at most its limit and at least 98 % of it. A bucket is the moment when it is full again. An entry written
while the clock of Redis was ahead counts as if written now, so at most one window longer.
While Redis is down each node counts for itself; quotas that are fail-closed raise Unavailable (docs/operations.md).
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

from vyry.limits import QUOTAS, Grant, Quota, QuotaWindow, rate_limit_error
from vyry.local_limits import LocalLimiter
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys


class RedisLimiter:
    """Limiter over Redis."""

    def __init__(
        self, guard: RedisGuard, quotas: Mapping[str, Quota] = QUOTAS, keys: RedisLimitKeys | None = None
    ) -> None:
        self._guard = guard
        self._quotas = quotas
        self._keys = keys or RedisLimitKeys()
        self._consume = guard.load_script("clock", "limits_common", "limits_consume")
        self._peek = guard.load_script("clock", "limits_common", "limits_peek")
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
