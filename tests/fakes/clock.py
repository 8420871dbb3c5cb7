"""A fake of the clock store: the latest confirmed moment, in memory."""

from datetime import datetime

from vyry.clock_monitor import ClockRecord


class MemoryClock:
    """ClockStore."""

    def __init__(self) -> None:
        self._seen_at: datetime | None = None
        self._claimed_at: datetime | None = None

    async def read(self) -> ClockRecord:
        return ClockRecord(self._seen_at, None, self._claimed_at)

    async def record(self, moment: datetime) -> None:
        self._seen_at = moment if self._seen_at is None else max(self._seen_at, moment)

    async def replace_confirmed(self, seen_at: datetime, moment: datetime) -> bool:
        if self._seen_at != seen_at:
            return False
        self._seen_at, self._claimed_at = moment, None
        return True

    async def record_claim(self, moment: datetime | None) -> None:
        if self._seen_at is not None:
            self._claimed_at = moment

    async def force_confirmed(self, moment: datetime) -> None:
        self._seen_at, self._claimed_at = moment, None
