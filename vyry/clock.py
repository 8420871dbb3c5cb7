"""The one place that asks what time it is."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from vyry.kernel.time import from_milliseconds, now_milliseconds


#: A clock that moves further than this against the time that passed has jumped.
JUMP_THRESHOLD: Final = timedelta(hours=1)
#: What counts as confirmed before the store was asked: nothing is over yet.
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the time; tests pin it."""

    def now(self) -> datetime:
        """The present moment, aware, UTC, whole milliseconds: for what is dated."""
        ...

    def confirmed_now(self) -> datetime:
        """A moment that has come for sure: for what is deleted, expired or unlocked and cannot be undone. It is `now()` unless the clock has jumped."""
        ...

    def latest(self) -> datetime:
        """The latest moment that it can be: for a lock, which must not end early whichever way the clock is wrong. It is `now()` unless the clock has jumped back."""
        ...


class SystemClock:
    """The machine's own clock, believed whatever it says: for commands, which an operator runs."""

    def now(self) -> datetime:
        """The present moment, aware, UTC, whole milliseconds."""
        return from_milliseconds(now_milliseconds())

    def confirmed_now(self) -> datetime:
        """The same: this clock is never in doubt."""
        return self.now()

    def latest(self) -> datetime:
        """The same: this clock is never in doubt."""
        return self.now()


class SteadyClock:
    """The machine's clock as it was at first, and the time that passed since: no jump reaches it. For what lives in this process for seconds."""

    def __init__(self) -> None:
        self._first, self._began = SystemClock().now(), elapsed_seconds()

    def now(self) -> datetime:
        """The present moment, if the clock was right at first."""
        return self._first + timedelta(seconds=elapsed_seconds() - self._began)

    def confirmed_now(self) -> datetime:
        """The same: this clock is never in doubt."""
        return self.now()

    def latest(self) -> datetime:
        """The same: this clock is never in doubt."""
        return self.now()


class CheckedClock:
    """The machine's clock, compared with the last moment that was confirmed (vyry/clock_monitor.py) and the time that passed since."""

    def __init__(self, wall: Callable[[], datetime] | None = None, elapsed: Callable[[], float] | None = None) -> None:
        self._read_wall_clock = wall or SystemClock().now
        #: Seconds since any moment, whatever becomes of the machine's clock.
        self.elapsed = elapsed or elapsed_seconds
        self._confirmed: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """What the machine's clock says."""
        return self._read_wall_clock()

    def confirmed_now(self) -> datetime:
        """A moment that has come for sure; before anything was confirmed one of long ago, by which nothing is over."""
        now, expected = self.now(), self.expected_now()
        if expected is None:
            return _EPOCH
        return now if abs(now - expected) <= JUMP_THRESHOLD else min(now, expected)

    def latest(self) -> datetime:
        """What the machine's clock says, or what it should say if that is more than an hour later."""
        now, expected = self.now(), self.expected_now()
        return expected if expected is not None and expected - now > JUMP_THRESHOLD else now

    def expected_now(self) -> datetime | None:
        """What the clock should say; None before the first confirmation."""
        if self._confirmed is None:
            return None
        moment, elapsed = self._confirmed
        return moment + timedelta(seconds=self.elapsed() - elapsed)

    def confirm(self, moment: datetime) -> None:
        """It is this moment now."""
        self._confirmed = moment, self.elapsed()


def elapsed_seconds() -> float:
    """Seconds that passed since the machine started; where the system can tell, those count too in which it slept."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
