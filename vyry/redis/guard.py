"""Calls to a Redis that may be down."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final, TypeVar

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from vyry.errors import Unavailable
from vyry.outage import OutageTracker


DEADLINE_SECONDS: Final = 1.0
#: What a call raises while Redis is down.
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)
_T = TypeVar("_T")


class RedisGuard:
    """The Redis of this process. A call takes at most a second; after a failure hints and limits (`call`) make no attempt until the next one is due.

    All users of one Redis share one guard, so that an outage is noticed, logged and shown in the metrics once.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._outage = OutageTracker("redis", longest_seconds=0.4)
        self._silent_until = 0.0

    def load_script(self, *names: str) -> AsyncScript:
        """The script made of these Lua files of this package, in this order; Redis runs it as one step."""
        parts = [files("vyry.redis").joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names]
        return self.redis.register_script("".join(parts))

    async def call(self, call: Callable[[], Awaitable[_T]]) -> _T | None:
        """Returns what the call returns, and None while Redis is down."""
        if self.seconds_until_retry > 0:
            return None
        try:
            return await self.require(call)
        except Unavailable:
            return None

    async def require(self, call: Callable[[], Awaitable[_T]], message: str = "Redis is unavailable.") -> _T:
        """Returns what the call returns; attempts it also shortly after a failure, since the request cannot do without. Raises Unavailable with this message while Redis is down."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                answer = await call()
        except REDIS_ERRORS as problem:
            self._silent_until = time.monotonic() + self.record_failure(problem)
            raise self.unavailable(message) from problem
        self.record_success()
        return answer

    @property
    def seconds_until_retry(self) -> float:
        """How long calls fail without an attempt; 0 while Redis is up."""
        return max(0.0, self._silent_until - time.monotonic())

    def unavailable(self, message: str) -> Unavailable:
        """The error for a request that needs Redis."""
        return Unavailable(message, retry_after_seconds=max(1, math.ceil(self.seconds_until_retry)))

    def record_failure(self, problem: BaseException) -> float:
        """Note a failure outside `call`; returns the seconds to wait before the next attempt."""
        return self._outage.record_failure(problem)

    def record_success(self) -> None:
        """Note that Redis answers: the next call is attempted at once."""
        self._silent_until = 0.0
        self._outage.record_success()
