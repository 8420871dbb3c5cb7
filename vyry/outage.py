"""One log line when a dependency goes down and one when it is up again, not one per attempt."""

import time

from vyry.kernel.backoff import backoff_seconds, jittered
from vyry.telemetry import DEPENDENCY_UP, log


class OutageTracker:
    """Whether a dependency is down, and how long to wait before the next attempt (doubling up to `longest_seconds`, jittered by a quarter)."""

    def __init__(self, dependency: str, *, first_seconds: float = 0.2, longest_seconds: float = 5.0) -> None:
        self._dependency = dependency
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._since: float | None = None
        self._failures = 0

    @property
    def is_down(self) -> bool:
        """Whether the last attempt failed."""
        return self._since is not None

    def record_failure(self, problem: BaseException) -> float:
        """Record a failure; returns how many seconds to wait before the next attempt."""
        if self._since is None:
            self._since = time.monotonic()
            log.warning("dependency_down", dependency=self._dependency, error=type(problem).__name__)
            DEPENDENCY_UP.labels(self._dependency).set(0)
        self._failures += 1
        return jittered(backoff_seconds(self._failures, self._first_seconds, self._longest_seconds), 0.75, 1.25)

    def record_success(self) -> None:
        """Record a success."""
        if self._since is not None:
            log.info("dependency_up", dependency=self._dependency, seconds=round(time.monotonic() - self._since, 1))
            DEPENDENCY_UP.labels(self._dependency).set(1)
        self._since = None
        self._failures = 0
