"""Asking Redis for what may as well not be known: no call takes longer than a second, and a failed one silences the next for a moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.exceptions import RedisError

from vyry.outage import OutageTracker


DEADLINE_SECONDS: Final = 1.0
_REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)
_T = TypeVar("_T")


class RedisGuard:
    """Makes calls to a Redis that may be away."""

    def __init__(self) -> None:
        self._outage = OutageTracker("redis", longest_seconds=1.0)
        self._silent_until = 0.0

    async def call(self, call: Callable[[], Awaitable[_T]]) -> _T | None:
        """What the call answers; None at once while Redis is believed away, and after a second at the latest."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                answer = await call()
        except _REDIS_ERRORS as problem:
            self._silent_until = time.monotonic() + self._outage.record_failure(problem)
            return None
        self._outage.record_success()
        return answer
