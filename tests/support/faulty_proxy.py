"""A line between a client and a node that counts what it carries and breaks or hangs where a test says: both ends see a reset, as when a cable is pulled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


_PIECE = 16 << 10
#: Only what carries more than so much is cut: a file, not what else goes on beside it.
_BULK = 128 << 10


@dataclass
class FaultyProxy:
    """`up` and `down` are the bytes carried so far; it breaks once each time one of them has come to a number in `cuts_up` or `cuts_down`. It hangs, once, where `up` comes to `hangs_at`: then `is_hanging` is set."""

    node_url: str
    url: str = ""
    bytes_up: int = 0
    bytes_down: int = 0
    cut_points_up: list[int] = field(default_factory=list)
    cut_points_down: list[int] = field(default_factory=list)
    hang_at: int | None = None
    is_hanging: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until an end of it closes or it is cut."""
        task = asyncio.current_task()
        assert task
        self.connections.add(task)
        node = urlsplit(self.node_url)
        there, back = await asyncio.open_connection(node.hostname, node.port)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._copy(reader, back, is_up=True), self._copy(there, writer, is_up=False))
        for each in (writer, back):
            each.transport.abort()
        self.connections.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool) -> None:
        own = 0
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                own += len(piece)
                self.bytes_up += len(piece) if is_up else 0
                self.bytes_down += 0 if is_up else len(piece)
                if own > _BULK and self._is_cut():
                    break
                if self.hang_at is not None and self.bytes_up >= self.hang_at:
                    self.hang_at = None
                    self.is_hanging.set()
                    # What is behind it goes nowhere; it ends when the other way does.
                    await asyncio.Event().wait()
                writer.write(piece)
                await writer.drain()
        raise asyncio.CancelledError

    def _is_cut(self) -> bool:
        for carried, cuts in ((self.bytes_up, self.cut_points_up), (self.bytes_down, self.cut_points_down)):
            if cuts and carried >= cuts[0]:
                del cuts[0]
                return True
        return False


@asynccontextmanager
async def open_faulty_proxy(node_url: str) -> AsyncIterator[FaultyProxy]:
    """A line to this node."""
    line = FaultyProxy(node_url)
    server = await asyncio.start_server(line.relay, "127.0.0.1", 0)
    line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        for task in tuple(line.connections):
            task.cancel()
        await asyncio.gather(*line.connections, return_exceptions=True)
