"""Deliver: what is to be written to sockets. One loop writes for all of them; who takes nothing holds up nobody and is cut off."""

import asyncio
import time
from typing import Final

from vyry.telemetry import log, record
from web.live.session import CloseCode, SocketSession, abort_connection, buffered_bytes


CLOSE_SECONDS: Final = 3.0


class DeliveryLoop:
    """Writes what sessions have put out, and closes them."""

    def __init__(self, slow_seconds: float) -> None:
        self._slow_seconds = slow_seconds
        self._pending: dict[SocketSession, None] = {}
        self._wake = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    def schedule_write(self, session: SocketSession) -> None:
        """There is something to write for this session."""
        if not session.is_writing:
            self._pending[session] = None
            self._wake.set()

    def request_close(self, session: SocketSession, code: CloseCode) -> None:
        """Have the session's reader close the socket; what was put out before still goes first.

        Only the task that reads may close: it alone can wait for the other side's answer, without which many a client never learns the code.
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
                await self._wake.wait()
                self._wake.clear()
                began = time.perf_counter()
                sessions, self._pending = self._pending, {}
                count = sum(len(session.outgoing) for session in sessions)
                for session in sessions:
                    if buffered_bytes(session) or not await session.flush():
                        self._start_slow_write(session)
                record("deliver", count, time.perf_counter() - began)

    def _start_slow_write(self, session: SocketSession) -> None:
        if not session.is_writing:
            session.is_writing = True
            self._tasks.create_task(self._write_remaining(session))

    async def _write_remaining(self, session: SocketSession) -> None:
        """Write all that is left, waiting for the other side; a reader that takes nothing for too long is cut off."""
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

    async def close(self, session: SocketSession, code: CloseCode) -> None:
        """Write what was put out before, then close, and say why."""
        session.is_closing = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while session.outgoing:
                    await session.write(session.outgoing.pop(0))
                await session.socket.close(code=code, message=(session.close_reason or code.text).encode())
        except (TimeoutError, ConnectionError, RuntimeError):
            session.outgoing.clear()
            abort_connection(session)
