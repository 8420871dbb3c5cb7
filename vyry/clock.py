"""The one place that asks what time it is."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; tests pin it."""

    def now(self) -> datetime:
        """The present moment, aware, UTC, whole milliseconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present moment, aware, UTC, whole milliseconds."""
        return from_milliseconds(time.time_ns() // 1_000_000)


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, as the hash chain counts them."""
    return round(moment.timestamp() * 1000)


def from_milliseconds(count: int) -> datetime:
    """The moment `count` milliseconds after 1970."""
    return datetime.fromtimestamp(count / 1000, UTC)
