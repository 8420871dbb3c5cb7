"""One log line when a dependency goes down and one when it is up again: not one per attempt, and no endless pairs while it answers now and then."""

import asyncio
import time
from typing import Final

from vyry.kernel.backoff import backoff_seconds, jittered
from vyry.telemetry import DEPENDENCY_UP, log


#: A dependency that answers again is up when it has not failed for this time; a failure before that continues the same outage.
SETTLE_SECONDS: Final = 5.0


class OutageTracker:
    """Whether a dependency is down, and how long to wait before the next attempt (doubling up to `longest_seconds`, jittered by a quarter)."""

    def __init__(
        self,
        dependency: str,
        *,
        first_seconds: float = 0.2,
        longest_seconds: float = 5.0,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._dependency = dependency
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._settle_seconds = settle_seconds
        self._since: float | None = None
        self._failures = 0
        self._end_timer: asyncio.TimerHandle | None = None

    @property
    def is_down(self) -> bool:
        """Whether the last attempt failed."""
        return self._since is not None

    def record_failure(self, problem: BaseException) -> float:
        """Record a failure; returns how many seconds to wait before the next attempt."""
        if self._since is None:
            self._since = time.monotonic()
            log.warning("dependency_down", dependency=self._dependency, error=type(problem).__name__)
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None
        DEPENDENCY_UP.labels(self._dependency).set(0)
        self._failures += 1
        return jittered(backoff_seconds(self._failures, self._first_seconds, self._longest_seconds), 0.75, 1.25)

    def record_success(self) -> None:
        """Record a success. The outage ends when no failure follows soon."""
        self._failures = 0
        if self._since is None or self._end_timer is not None:
            return
        DEPENDENCY_UP.labels(self._dependency).set(1)
        seconds = round(time.monotonic() - self._since, 1)
        self._end_timer = asyncio.get_running_loop().call_later(self._settle_seconds, self._end, seconds)

    def _end(self, seconds: float) -> None:
        self._since = self._end_timer = None
        log.info("dependency_up", dependency=self._dependency, seconds=seconds)
