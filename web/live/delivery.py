"""Deliver: one loop writes the frames of all sockets. A slow client delays no other socket, and is disconnected after a timeout."""

import asyncio
import time
from typing import Final

from vyry.kernel.coalescer import Coalescer
from vyry.telemetry import log, record
from vyry.tracing import trace_step
from web.live.session import CloseCode, SocketSession, abort_connection, buffered_bytes


CLOSE_SECONDS: Final = 3.0


class DeliveryLoop:
    """Writes the outgoing frames of sessions, and closes sockets."""

    def __init__(self, slow_seconds: float) -> None:
        self._slow_seconds = slow_seconds
        self._pending: Coalescer[SocketSession] = Coalescer()
        self._tasks = asyncio.TaskGroup()
        self._slow_count = 0

    @property
    def depth(self) -> int:
        """The sockets with frames that wait."""
        return len(self._pending) + self._slow_count

    def schedule_write(self, session: SocketSession) -> None:
        """Schedule the session's outgoing frames to be written."""
        if not session.is_writing:
            self._pending.add(session)

    def request_close(self, session: SocketSession, code: CloseCode) -> None:
        """Make the session's reader close the socket, after the frames that are already outgoing.

        Only the reading task may close: it alone can wait for the client's close frame, without which many clients do not see the code.
        """
        if not session.is_closing:
            session.is_closing = True
            session.close_code = code
            if session.reader is not None:
                session.reader.cancel()

    async def run(self) -> None:
        """Write until cancelled."""
        async with self._tasks:
            while True:
                await self._pending.wait()
                began = time.perf_counter()
                sessions = self._pending.take()
                count = sum(len(session.outgoing) for session in sessions)
                for session in sessions:
                    if buffered_bytes(session) or not session.flush():
                        self._start_slow_write(session)
                record("deliver", count, time.perf_counter() - began)
                trace_step("deliver", (session.mailbox for session in sessions), began)

    def _start_slow_write(self, session: SocketSession) -> None:
        if not session.is_writing:
            session.is_writing = True
            self._slow_count += 1
            self._tasks.create_task(self._write_remaining(session))

    async def _write_remaining(self, session: SocketSession) -> None:
        """Write the remaining frames as the client reads them; disconnect a client that reads nothing for too long."""
        try:
            while session.outgoing:
                async with asyncio.timeout(self._slow_seconds):
                    await session.write(session.outgoing.pop(0))
        except TimeoutError:
            log.info("deliver", outcome="slow_client_disconnected", mailbox=session.mailbox)
            session.outgoing.clear()
            abort_connection(session)
        finally:
            session.is_writing = False
            self._slow_count -= 1

    async def close(self, session: SocketSession, code: CloseCode) -> None:
        """Write the outgoing frames, then close with the code and its reason."""
        session.is_closing = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while session.outgoing:
                    await session.write(session.outgoing.pop(0))
                await session.socket.close(code=code, message=(session.close_reason or code.text).encode())
        except (TimeoutError, ConnectionError, RuntimeError):
            session.outgoing.clear()
            abort_connection(session)
