"""Socket tickets in Redis: kept under their hash for half a minute, taken by GETDEL."""

from datetime import timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError

from vyry.errors import Unavailable


class RedisTickets:
    """Tickets, for all nodes together."""

    def __init__(self, redis: Redis, prefix: str = "vyry") -> None:
        self._redis = redis
        self._prefix = prefix

    async def keep(self, key: str, value: bytes, lifetime: timedelta) -> None:
        try:
            await self._redis.set(f"{self._prefix}:ticket:{key}", value, px=lifetime)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("Tickets cannot be kept just now.") from error

    async def take(self, key: str) -> bytes | None:
        try:
            value = await self._redis.getdel(f"{self._prefix}:ticket:{key}")
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("Tickets cannot be looked up just now.") from error
        return value if isinstance(value, bytes) else None
