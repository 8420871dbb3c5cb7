"""Isolates Web Push hosts, which any user may name: a limit of concurrent requests to each host, and a pause for a host that fails."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from vyry.kernel.backoff import backoff_seconds


#: Concurrent requests to one host.
MAX_IN_FLIGHT: Final = 32
#: After so many failures in a row a host gets no requests for a while, doubling with each failure.
_FAILURES: Final = 3
_FIRST_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 600.0
#: A wakeup for a busy host is tried again after so long.
_BUSY_WAIT_SECONDS: Final = 1.0
#: How many hosts are remembered.
_MAX_HOSTS: Final = 10_000


@dataclass(slots=True)
class _Host:
    in_flight: int = 0
    failures: int = 0
    paused_until: float = 0.0


class HostRequest:
    """One request; it counts as failed unless the caller sets `has_succeeded`."""

    has_succeeded = False


class HostThrottle:
    """The requests and failures of each host."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def wait_seconds(self, name: str) -> float:
        """The seconds until the host may get a request; 0 if it may now."""
        host = self._hosts.get(name)
        if host is None:
            return 0.0
        if host.failures >= _FAILURES and host.in_flight:
            # One request at a time probes the host.
            return _BUSY_WAIT_SECONDS
        return _BUSY_WAIT_SECONDS if host.in_flight >= MAX_IN_FLIGHT else max(0.0, host.paused_until - time.monotonic())

    @contextmanager
    def track_request(self, name: str) -> Iterator[HostRequest]:
        """Count a request to the host, and its result."""
        host, request = self._hosts.setdefault(name, _Host()), HostRequest()
        host.in_flight += 1
        try:
            yield request
        finally:
            host.in_flight -= 1
            host.failures = 0 if request.has_succeeded else host.failures + 1
            if host.failures >= _FAILURES:
                wait = backoff_seconds(host.failures - _FAILURES + 1, _FIRST_SECONDS, _LONGEST_SECONDS)
                host.paused_until = time.monotonic() + wait
            self._evict(name, host)

    def _evict(self, name: str, host: _Host) -> None:
        if not host.in_flight and not host.failures:
            self._hosts.pop(name, None)
        if len(self._hosts) > _MAX_HOSTS:
            idle = next((other for other, known in self._hosts.items() if not known.in_flight), None)
            if idle is not None:
                del self._hosts[idle]
