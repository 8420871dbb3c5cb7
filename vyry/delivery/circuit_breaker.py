"""A circuit breaker for a service that sends SMS or push messages."""

import time
from typing import Final

from vyry.outage import OutageTracker


#: The circuit opens after so many failures in a row.
MAX_FAILURES: Final = 3
#: How long a probe may take before the next one is admitted.
PROBE_SECONDS: Final = 10.0


class CircuitBreaker:
    """Closed: calls go through. Open: calls are refused for 1 s, doubling up to 30 s; then one probe at a time is admitted, and its success closes it."""

    def __init__(self, dependency: str) -> None:
        self._outage = OutageTracker(dependency, first_seconds=1, longest_seconds=30)
        self._failures = 0
        self._open_until = 0.0

    def admit_call(self) -> bool:
        """Whether the caller may call the service now; it must then record a failure or a success."""
        now = time.monotonic()
        if now < self._open_until:
            return False
        if self._failures >= MAX_FAILURES:
            # This call is the probe: until it is over, no other call is admitted.
            self._open_until = now + PROBE_SECONDS
        return True

    def record_failure(self, problem: Exception) -> None:
        """The service did not respond, or responded that it cannot serve."""
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self._open_until = time.monotonic() + self._outage.record_failure(problem)

    def record_success(self) -> None:
        """The service works; a rejected message counts as success, too."""
        self._failures, self._open_until = 0, 0.0
        self._outage.record_success()
