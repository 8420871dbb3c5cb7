"""A clock that moves only when a test moves it."""

from datetime import UTC, datetime, timedelta
from typing import Final


NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeClock:
    """A Clock that stands still until `advance`."""

    def __init__(self, current_time: datetime = NOON) -> None:
        self.current_time = current_time
        #: What `confirmed_now` returns while the clock is in doubt.
        self.confirmed_time: datetime | None = None

    def now(self) -> datetime:
        return self.current_time

    def confirmed_now(self) -> datetime:
        return self.confirmed_time or self.current_time

    def latest(self) -> datetime:
        return self.current_time

    def advance(self, **span: float) -> None:
        """Move on by a timedelta of these arguments."""
        self.current_time += timedelta(**span)
