"""How long a client waits for its node, or for another process with its profile: seconds without progress, not seconds in all."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from vyry.client.errors import Unreachable


#: Seconds after which a wait is reported.
REPORT_AFTER_SECONDS: Final = 2.0
#: Bytes that count as progress: more than the node's pings.
_PROGRESS_BYTES: Final = 512


def _ignore(_: str) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How a caller of `Client.open` wants to wait.

    `seconds`: a wait ends after so many seconds without progress (Unreachable; StoreLocked while another process uses the profile). None, as for a bot: contents wait until they are sent,
    and there is no wait for another process. `told` is called with one sentence when a wait takes longer than two seconds. `requests_profile`: a process that can release the profile is asked for it.
    """

    seconds: float | None = None
    told: Callable[[str], None] = _ignore
    requests_profile: bool = True

    @contextmanager
    def reporting(self, why: Callable[[], str]) -> Iterator[None]:
        """Around a wait: if it takes long, `told` is called once with the reason."""
        notice = asyncio.get_running_loop().call_later(REPORT_AFTER_SECONDS, lambda: self.told(f"Waiting: {why()}"))
        try:
            yield
        finally:
            notice.cancel()


#: The waits of a bot.
DEFAULT_WAITS: Final = Waits()


class ProgressTimer:
    """Restarts the timeout of every running wait at each progress."""

    def __init__(self) -> None:
        self._limits: dict[asyncio.Timeout, float] = {}
        self._octets = 0

    def advance(self) -> None:
        """Restart the timeouts: there was progress."""
        now = asyncio.get_running_loop().time()
        for limit, seconds in self._limits.items():
            if not limit.expired():
                limit.reschedule(now + seconds)

    def add_bytes(self, octets: int) -> None:
        """Count transferred bytes; enough of them are progress."""
        self._octets += octets
        if self._octets >= _PROGRESS_BYTES:
            self._octets = 0
            self.advance()

    @asynccontextmanager
    async def limit_wait(self, waits: Waits, why: Callable[[], str]) -> AsyncIterator[None]:
        """Around a wait. Raises Unreachable, with `why`, after `waits.seconds` without progress."""
        with waits.reporting(why):
            try:
                async with asyncio.timeout(waits.seconds) as limit:
                    if waits.seconds is not None:
                        self._limits[limit] = waits.seconds
                    try:
                        yield
                    finally:
                        self._limits.pop(limit, None)
            except TimeoutError:
                raise Unreachable(why()) from None

    def make_socket(self, address: Sequence[Any]) -> socket.socket:
        """A socket whose received bytes are counted, as aiohttp requests one: for a result of `getaddrinfo`."""
        family, kind, protocol, *_ = address
        counting = _CountingSocket(family, kind, protocol)
        counting.on_bytes = self.add_bytes
        return counting


class _CountingSocket(socket.socket):
    """Counts received bytes: a long frame on a slow line is progress long before it is complete."""

    on_bytes: Callable[[int], None] = staticmethod(lambda _: None)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """See socket.socket."""
        found = super().recv(size, flags)
        self.on_bytes(len(found))
        return found

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        """See socket.socket."""
        size = super().recv_into(buffer, nbytes, flags)
        self.on_bytes(size)
        return size
