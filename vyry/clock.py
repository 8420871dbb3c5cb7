"""Clocks of the node: what is dated, what may be undone, and what happens when the machine's clock jumps."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from vyry.kernel.time import from_milliseconds, now_milliseconds


#: A clock that moves further than this against the time that passed has jumped.
JUMP_THRESHOLD: Final = timedelta(hours=1)
#: The confirmed time before the first check with the store: nothing has expired yet.
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """The current time; tests pin it."""

    def now(self) -> datetime:
        """The current time (aware, UTC, whole milliseconds), for dates."""
        ...

    def confirmed_now(self) -> datetime:
        """A moment that has certainly passed, for deletions, expiry and unlocks that cannot be undone. It is `now()` unless the clock has jumped."""
        ...

    def latest(self) -> datetime:
        """The latest possible time, for a lock that must not end early. It is `now()` unless the clock has jumped back."""
        ...


class SystemClock:
    """The machine's clock without checks, for commands of an operator."""

    def now(self) -> datetime:
        """The reading of the machine's clock."""
        return from_milliseconds(now_milliseconds())

    def confirmed_now(self) -> datetime:
        """The same as `now`."""
        return self.now()

    def latest(self) -> datetime:
        """The same as `now`."""
        return self.now()


class SteadyClock:
    """The machine's clock at the start of the process plus the elapsed time: jumps have no effect. For state that lives in this process for seconds."""

    def __init__(self) -> None:
        self._first, self._began = SystemClock().now(), elapsed_seconds()

    def now(self) -> datetime:
        """The current time, if the clock was right at the start."""
        return self._first + timedelta(seconds=elapsed_seconds() - self._began)

    def confirmed_now(self) -> datetime:
        """The same as `now`."""
        return self.now()

    def latest(self) -> datetime:
        """The same as `now`."""
        return self.now()


class CheckedClock:
    """The machine's clock, compared with the last confirmed moment (vyry/clock_monitor.py) plus the elapsed time."""

    def __init__(self, wall: Callable[[], datetime] | None = None, elapsed: Callable[[], float] | None = None) -> None:
        self._read_wall_clock = wall or SystemClock().now
        #: Monotonic seconds, unaffected by changes of the machine's clock.
        self.elapsed = elapsed or elapsed_seconds
        self._confirmed: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """The reading of the machine's clock."""
        return self._read_wall_clock()

    def confirmed_now(self) -> datetime:
        """A moment that has certainly passed; before the first confirmation 1970, so that nothing has expired."""
        now, expected = self.now(), self.expected_now()
        if expected is None:
            return _EPOCH
        return now if abs(now - expected) <= JUMP_THRESHOLD else min(now, expected)

    def latest(self) -> datetime:
        """The reading of the machine's clock, or the expected time if that is more than an hour later."""
        now, expected = self.now(), self.expected_now()
        return expected if expected is not None and expected - now > JUMP_THRESHOLD else now

    def expected_now(self) -> datetime | None:
        """The confirmed moment plus the elapsed time; None before the first confirmation."""
        if self._confirmed is None:
            return None
        moment, elapsed = self._confirmed
        return moment + timedelta(seconds=self.elapsed() - elapsed)

    def confirm(self, moment: datetime) -> None:
        """Confirm that it is this moment now."""
        self._confirmed = moment, self.elapsed()


def elapsed_seconds() -> float:
    """Seconds since the machine started, including suspended time where the system counts it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
