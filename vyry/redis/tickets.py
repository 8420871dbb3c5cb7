"""Socket tickets in Redis: stored under their hash, removed by the GETDEL that returns them."""

from datetime import timedelta

from vyry.redis.guard import RedisGuard


_DOWN = "The ticket store is unavailable."


class RedisTickets:
    """Tickets of all nodes."""

    def __init__(self, guard: RedisGuard, prefix: str = "vyry") -> None:
        self._guard = guard
        self._prefix = prefix

    async def save(self, key: str, value: bytes, lifetime: timedelta) -> None:
        await self._guard.require(lambda: self._guard.redis.set(self._key(key), value, px=lifetime), _DOWN)

    async def pop(self, key: str) -> bytes | None:
        value = await self._guard.require(lambda: self._guard.redis.getdel(self._key(key)), _DOWN)
        return value if isinstance(value, bytes) else None

    def _key(self, key: str) -> str:
        return f"{self._prefix}:ticket:{key}"
