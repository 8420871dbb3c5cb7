"""Socket tickets in Redis: kept under their hash for half a minute, taken by GETDEL."""

import asyncio
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from vyry.errors import Unavailable


DEADLINE_SECONDS: Final = 1.0
_REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)


class RedisTickets:
    """Tickets, for all nodes together."""

    def __init__(self, redis: Redis, prefix: str = "vyry") -> None:
        self._redis = redis
        self._prefix = prefix

    async def save(self, key: str, value: bytes, lifetime: timedelta) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self._redis.set(f"{self._prefix}:ticket:{key}", value, px=lifetime)
        except _REDIS_ERRORS as error:
            raise Unavailable("Tickets cannot be kept just now.") from error

    async def pop(self, key: str) -> bytes | None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                value = await self._redis.getdel(f"{self._prefix}:ticket:{key}")
        except _REDIS_ERRORS as error:
            raise Unavailable("Tickets cannot be looked up just now.") from error
        return value if isinstance(value, bytes) else None
