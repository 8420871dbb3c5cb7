"""Socket tickets of a node that runs alone."""

from datetime import datetime, timedelta

from vyry.clock import Clock


class InProcessTickets:
    """Tickets in the memory of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tickets: dict[str, tuple[bytes, datetime]] = {}

    async def save(self, key: str, value: bytes, lifetime: timedelta) -> None:
        self._drop_expired()
        self._tickets[key] = (value, self._clock.now() + lifetime)

    async def pop(self, key: str) -> bytes | None:
        value, expires_at = self._tickets.pop(key, (None, self._clock.now()))
        return value if expires_at > self._clock.now() else None

    def _drop_expired(self) -> None:
        # Tickets live equally long (TICKET_LIFETIME), so the oldest expire first.
        now = self._clock.now()
        while (oldest := next(iter(self._tickets), None)) is not None and self._tickets[oldest][1] <= now:
            del self._tickets[oldest]
