"""How long a client waits for its node, or for another process with its profile: seconds without progress, not seconds in all."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from vyry.client.errors import Unreachable


#: A wait is told of when it takes longer than this.
REPORT_AFTER_SECONDS: Final = 2.0
#: So many bytes on a connection are progress: the node's pings alone are none.
_OCTETS: Final = 512


def _ignore(_: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How a caller of `Client.open` wants to wait.

    `seconds`: when nothing has moved for so long, a wait ends (Unreachable; StoreLocked while another process works with the profile). None, as for a bot: what is to be sent waits until it is sent,
    and another process is not waited for. `told` is called with one sentence when a wait takes longer than two seconds. `is_asking`: a process that can give the profile away is asked for it.
    """

    seconds: float | None = None
    told: Callable[[str], None] = _ignore
    requests_profile: bool = True

    @contextmanager
    def reporting(self, why: Callable[[], str]) -> Iterator[None]:
        """Around a wait: `told` hears once, when it takes long, that it goes on and `why`."""
        notice = asyncio.get_running_loop().call_later(REPORT_AFTER_SECONDS, lambda: self.told(f"Waiting: {why()}"))
        try:
            yield
        finally:
            notice.cancel()


#: As a bot waits.
DEFAULT_WAITS: Final = Waits()


class ProgressTimer:
    """What is waited for has moved on: every wait for it begins to count again."""

    def __init__(self) -> None:
        self._limits: dict[asyncio.Timeout, float] = {}
        self._octets = 0

    def advance(self) -> None:
        """Something was done."""
        now = asyncio.get_running_loop().time()
        for limit, seconds in self._limits.items():
            if not limit.expired():
                limit.reschedule(now + seconds)

    def add_bytes(self, octets: int) -> None:
        """So many bytes more are across."""
        self._octets += octets
        if self._octets >= _OCTETS:
            self._octets = 0
            self.advance()

    @asynccontextmanager
    async def limit_wait(self, waits: Waits, why: Callable[[], str]) -> AsyncIterator[None]:
        """Around a wait for it. Raises Unreachable, with `why`, when nothing has moved for as long as `waits` says."""
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
        """A socket whose bytes are counted, as aiohttp asks for one: by an answer of `getaddrinfo`."""
        family, kind, protocol, *_ = address
        made = _CountingSocket(family, kind, protocol)
        made.on_bytes = self.add_bytes
        return made


class _CountingSocket(socket.socket):
    """Counts what comes: a long frame on a slow line is progress long before it is whole."""

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
