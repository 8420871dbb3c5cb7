"""The sockets of this process: their registration, the loops that serve and check them, and the shutdown."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from vyry.kernel.ids import MailboxKey
from vyry.mail.hellos import Hellos
from vyry.mail.routing import SocketDetails
from vyry.signals.presence import DeviceSocket
from vyry.signals.socket_quotas import HELLO_TIMEOUT_SECONDS, ConnectionSlot
from vyry.telemetry import SOCKETS
from web.live.catch_up import CatchUp
from web.live.collector import Collector
from web.live.delivery import DeliveryLoop
from web.live.hint_dispatcher import HintDispatcher
from web.live.revocation import RevokedSocketCloser
from web.live.session import CloseCode, SocketSession, buffered_bytes, describe_session


if TYPE_CHECKING:
    from vyry.composition.services import Services


@dataclass(frozen=True, slots=True)
class SocketTimeouts:
    """Time limits of sockets, in seconds (docs/protocol.md, "WebSocket"); tests use shorter ones."""

    hello: float = HELLO_TIMEOUT_SECONDS
    #: Seconds without a frame or pong until the node pings, and until it closes the socket.
    ping_after: float = 20.0
    close_after: float = 30.0
    #: Interval of the checks for silent sockets and expired tokens.
    check_interval: float = 1.0
    #: A client that reads nothing for so long is disconnected.
    slow_reader: float = 10.0
    #: Hints may be lost, so every mailbox with a socket here is read at this interval, plus or minus a fifth.
    catch_up_interval: float = 5.0


SOCKET_TIMEOUTS = SocketTimeouts()
#: How long a stop waits for the posts of a socket: longer than the store's timeout.
POSTS_SECONDS: Final = 5.0
#: How many reconnecting devices per second a process carries besides its mail: less than half of a core (docs/operations.md, "Stopping").
RECONNECTS_PER_SECOND: Final = 100.0


class SocketHub:
    """The sessions of this node and the loops that serve them."""

    def __init__(self, services: "Services", timeouts: SocketTimeouts = SOCKET_TIMEOUTS) -> None:
        self.services = services
        self.timeouts = timeouts
        self.buckets = services.buckets
        #: The node is shutting down: no new sockets, and long polls end.
        self.is_draining = False
        self._sessions: dict[MailboxKey, SocketSession] = {}
        #: Every open socket, with its slot in the quotas of its account and address.
        self._open_sockets: dict[SocketSession, ConnectionSlot] = {}
        self._all_closed = asyncio.Event()
        self.delivery = DeliveryLoop(timeouts.slow_reader)
        self.collector = Collector(services.mail_store, self._sessions)
        self.hellos = Hellos(services.mail_store, services.depositor)
        self.revocation = RevokedSocketCloser(services, self._open_sockets.keys(), self.delivery)
        self.catch_up = CatchUp(
            services,
            self._sessions,
            collector=self.collector,
            revocation=self.revocation,
            delivery=self.delivery,
            interval=timeouts.catch_up_interval,
        )
        self.hints = HintDispatcher(self._sessions, self.collector, self.delivery, services.signals)

    @asynccontextmanager
    async def run_loops(self) -> AsyncIterator[None]:
        """Run the loops while the context is open."""
        self.services.sockets.attach(self.hints, self._describe_socket)
        async with asyncio.TaskGroup() as tasks:
            loops = [
                tasks.create_task(loop())
                for loop in (
                    self.collector.run,
                    self.delivery.run,
                    self.hellos.run,
                    self.revocation.run,
                    self._check_liveness,
                    self.catch_up.run,
                    self.services.signals.typing.run,
                    partial(self.services.signals.presence.run, self._presence_sockets),
                )
            ]
            try:
                yield
            finally:
                for loop in loops:
                    loop.cancel()

    async def activate(self, session: SocketSession) -> None:
        """Make this session the device's only one, on this node and on all others, after a valid hello."""
        older = self._sessions.get(session.mailbox)
        if older is not None and older.connection > session.connection:
            # Two sockets sent hello at once, and the newer one was activated first.
            self.delivery.request_close(session, CloseCode.TAKEN_OVER)
            return
        if older is not None and older is not session:
            self.delivery.request_close(older, CloseCode.TAKEN_OVER)
        self._sessions[session.mailbox] = session
        session.may_have_entries = True
        await self.services.connection_slots.assign_to_device(self._open_sockets[session], session.mailbox)
        await self.services.notifier.register_socket(session.mailbox, session.connection)
        self.services.signals.presence.socket_opened(presence_socket(session))
        # From here on no hint is missed: earlier entries are found by reading, envelopes without a sequence number by a deposit.
        self.collector.mark([session.mailbox])
        self.hellos.add_opened(session.mailbox)

    def track(self, session: SocketSession, slot: ConnectionSlot) -> "_TrackedSocket":
        """Track a socket while the context is open: from its upgrade to its end."""
        self._add(session, slot)
        return _TrackedSocket(self._remove, session)

    def _add(self, session: SocketSession, slot: ConnectionSlot) -> None:
        session.last_heard_at = time.monotonic()
        self._open_sockets[session] = slot
        self._all_closed.clear()
        SOCKETS.inc()

    async def _remove(self, session: SocketSession) -> None:
        slot = self._open_sockets.pop(session)
        if not self._open_sockets:
            self._all_closed.set()
        SOCKETS.dec()
        session.is_closing = True
        slot.is_owned_elsewhere = session.close_code is CloseCode.TAKEN_OVER
        if session.presence_watch is not None:
            self.services.signals.presence.unwatch(session.presence_watch, set(session.presence_watch.users))
        if self._sessions.get(session.mailbox) is session:
            del self._sessions[session.mailbox]
            if not self.is_draining:
                # At a shutdown the device reconnects to another node, within the presence lease.
                self.services.signals.presence.socket_closed(presence_socket(session))
            await self.services.notifier.unregister_socket(session.mailbox, session.connection)

    @property
    def socket_count(self) -> int:
        """The number of open sockets."""
        return len(self._open_sockets)

    @property
    def queues(self) -> Mapping[str, Collector | DeliveryLoop | Hellos]:
        """What waits to be read and written, for the metrics."""
        return {"hello": self.hellos, "collect": self.collector, "deliver": self.delivery}

    def _describe_socket(self, mailbox: MailboxKey) -> SocketDetails | None:
        session = self._sessions.get(mailbox)
        return None if session is None else describe_session(session)

    def sent_seq(self, mailbox: MailboxKey) -> int:
        """The highest sequence number sent on this device's socket; 0 without a socket here."""
        session = self._sessions.get(mailbox)
        return session.window.sent if session is not None and session.window is not None else 0

    def release_acknowledged(self, mailbox: MailboxKey, seq: int) -> None:
        """Release the window of the device's socket here, if there is one, up to a `seq` that was acknowledged elsewhere."""
        session = self._sessions.get(mailbox)
        if session is not None:
            self.catch_up.release(session, seq)

    async def drain(self, seconds: float = 0.0) -> None:
        """Refuse new sockets, and close the open ones one by one within these seconds; returns when all are closed.

        Each device reconnects at once. Where the seconds are too short for that, `goodbye` names a later moment: no more than RECONNECTS_PER_SECOND come back.
        """
        self.is_draining = True
        sessions, began = list(self._open_sockets), time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, session in enumerate(sessions):
                await asyncio.sleep(max(0.0, began + seconds * number / len(sessions) - time.monotonic()))
                tasks.create_task(self._close_for_stop(session, began + number / RECONNECTS_PER_SECOND))
        # A request that was upgrading to a socket when the node began to refuse them.
        for session in list(self._open_sockets):
            self.delivery.request_close(session, CloseCode.GOING_AWAY)
        if self._open_sockets:
            await self._all_closed.wait()

    async def _close_for_stop(self, session: SocketSession, slot: float) -> None:
        session.send(
            "goodbye", {"reason": "shutdown", "retryAfterSeconds": round(max(0.0, slot - time.monotonic()), 2)}
        )
        # Earlier posts are answered first.
        with suppress(TimeoutError):
            async with asyncio.timeout(POSTS_SECONDS):
                await self.services.posting.drained()
        self.delivery.request_close(session, CloseCode.GOING_AWAY)

    def _presence_sockets(self) -> Iterator[DeviceSocket]:
        """The sockets with a recent frame or pong: after a long sleep of the node the others may be dead."""
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if now - session.last_heard_at <= self.timeouts.close_after:
                yield presence_socket(session)

    async def _check_liveness(self) -> None:
        """Ping silent sockets; close those that stay silent or whose token has expired."""
        while True:
            await asyncio.sleep(self.timeouts.check_interval)
            now, wall = time.monotonic(), self.services.clock.now().timestamp()
            for session in list(self._open_sockets):
                silence = now - session.last_heard_at
                if session.expires_at <= wall:
                    self.delivery.request_close(session, CloseCode.TOKEN_ENDED)
                elif silence > self.timeouts.close_after:
                    self.delivery.request_close(session, CloseCode.SILENT)
                elif silence > self.timeouts.ping_after and not session.is_pinged and not buffered_bytes(session):
                    session.is_pinged = True
                    # The connection may be closed before its reader notices.
                    with suppress(ConnectionError, RuntimeError):
                        await session.socket.ping()


class _TrackedSocket:
    """The context of a tracked socket. A class with slots: each idle socket keeps one."""

    __slots__ = ("_remove", "_session")

    def __init__(self, remove: Callable[[SocketSession], Awaitable[None]], session: SocketSession) -> None:
        self._remove = remove
        self._session = session

    async def __aenter__(self) -> None:
        """The socket is tracked already: nothing can happen in between."""

    async def __aexit__(self, *_: object) -> None:
        await self._remove(self._session)


def presence_socket(session: SocketSession) -> DeviceSocket:
    """The session as presence's DeviceSocket."""
    return DeviceSocket(session.caller.user_id, session.mailbox, session.connection)
