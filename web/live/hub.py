"""The sockets open in this process: who joins, who is looked after, who leaves."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from vyry.errors import Unavailable
from vyry.kernel.backoff import jittered
from vyry.kernel.batches import batched
from vyry.kernel.ids import MailboxKey
from vyry.signals.presence import DeviceSocket
from vyry.signals.socket_quotas import HELLO_TIMEOUT_SECONDS, ConnectionSlot
from vyry.telemetry import SOCKETS
from web.live.collector import MAX_MAILBOXES, Collector
from web.live.delivery import DeliveryLoop
from web.live.hint_dispatcher import HintDispatcher
from web.live.revocation import RevokedSocketCloser
from web.live.session import CloseCode, SocketSession, buffered_bytes


if TYPE_CHECKING:
    from vyry.composition.services import Services


@dataclass(frozen=True, slots=True)
class SocketTimeouts:
    """The patience of a node with its sockets, in seconds (docs/protocol.md, "WebSocket"); tests are in more of a hurry."""

    hello: float = HELLO_TIMEOUT_SECONDS
    #: After so much silence the node pings, and after that much it closes.
    ping_after: float = 20.0
    close_after: float = 30.0
    #: How often silence and ends of tokens are looked at.
    check_interval: float = 1.0
    #: A socket that takes nothing for so long is cut off.
    slow_reader: float = 10.0
    #: Hints may be lost: every mailbox held here is looked at this often anyway, give or take a fifth.
    catch_up_interval: float = 5.0
    #: Over so much time clients are asked to spread their coming back.
    reconnect_spread: float = 10.0


SOCKET_TIMEOUTS = SocketTimeouts()
#: How long a node that goes away waits for the posts under way: longer than the store takes to say that it is away.
DRAIN_SECONDS: Final = 5.0


class SocketHub:
    """Holds the sessions of this node and the loops that serve them."""

    def __init__(self, services: "Services", timeouts: SocketTimeouts = SOCKET_TIMEOUTS) -> None:
        self.services = services
        self.timeouts = timeouts
        self.buckets = services.buckets
        #: No more long polls and no new sockets: the node says goodbye.
        self.is_draining = False
        self._sessions: dict[MailboxKey, SocketSession] = {}
        #: Each with its place among those of its account and address.
        self._open_sockets: dict[SocketSession, ConnectionSlot] = {}
        self._all_closed = asyncio.Event()
        self.delivery = DeliveryLoop(timeouts.slow_reader)
        self.collector = Collector(services.mail_store, self._sessions)
        self.revocation = RevokedSocketCloser(services, self._open_sockets.keys(), self.delivery)
        self.hints = HintDispatcher(self._sessions, self.collector, self.delivery, services.signals)

    @asynccontextmanager
    async def run_loops(self) -> AsyncIterator[None]:
        """Serve for as long as the context is open."""
        self.services.sockets.attach(self.hints)
        async with asyncio.TaskGroup() as tasks:
            loops = [
                tasks.create_task(loop())
                for loop in (
                    self.collector.run,
                    self.delivery.run,
                    self.revocation.run,
                    self._check_liveness,
                    self._catch_up,
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
        """The session's hello was right: it takes the device's place, on this node and on all others."""
        older = self._sessions.get(session.mailbox)
        if older is not None and older.connection > session.connection:
            # Two said hello at once, and the later one got here first.
            self.delivery.request_close(session, CloseCode.TAKEN_OVER)
            return
        if older is not None and older is not session:
            self.delivery.request_close(older, CloseCode.TAKEN_OVER)
        self._sessions[session.mailbox] = session
        session.is_behind = True
        await self.services.connection_slots.assign_to_device(self._open_sockets[session], session.mailbox)
        await self.services.notifier.register_socket(session.mailbox, session.connection)
        self.services.signals.presence.socket_opened(presence_socket(session))
        # From here on no hint is missed: what came before is found by reading, what is not numbered yet by a deposit.
        self.collector.mark([session.mailbox])
        self.services.depositor.add([session.mailbox])

    @asynccontextmanager
    async def track(self, session: SocketSession, place: ConnectionSlot) -> AsyncIterator[None]:
        """Count and watch a socket from its upgrade to its end."""
        session.last_heard_at = time.monotonic()
        self._open_sockets[session] = place
        self._all_closed.clear()
        SOCKETS.inc()
        try:
            yield
        finally:
            del self._open_sockets[session]
            if not self._open_sockets:
                self._all_closed.set()
            SOCKETS.dec()
            session.is_closing = True
            place.is_owned_elsewhere = session.close_code is CloseCode.TAKEN_OVER
            if session.presence_watch is not None:
                self.services.signals.presence.unwatch(session.presence_watch, set(session.presence_watch.users))
            if self._sessions.get(session.mailbox) is session:
                del self._sessions[session.mailbox]
                if not self.is_draining:
                    # Who has to leave because the node does comes back elsewhere, within the lease.
                    self.services.signals.presence.socket_closed(presence_socket(session))
                await self.services.notifier.unregister_socket(session.mailbox, session.connection)

    def sent_seq(self, mailbox: MailboxKey) -> int:
        """The highest number sent on this device's socket, if it is here; else 0."""
        session = self._sessions.get(mailbox)
        return session.window.sent if session is not None and session.window is not None else 0

    def release_acknowledged(self, mailbox: MailboxKey, seq: int) -> None:
        """Everything up to here was acknowledged elsewhere: the device's socket, if it is here, may be sent more."""
        session = self._sessions.get(mailbox)
        if session is not None and session.window is not None:
            session.window.release(seq)
            self.collector.mark_if_behind(session)

    async def drain(self) -> None:
        """Say goodbye to everybody, each with another moment to come back, and close; ends when all sockets are closed."""
        self.is_draining = True
        for session in list(self._open_sockets):
            after = round(jittered(self.timeouts.reconnect_spread, 0, 1), 1)
            session.send("goodbye", {"reason": "shutdown", "retryAfterSeconds": after})
        # What was posted before is answered first.
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.services.posting.drained()
        for session in list(self._open_sockets):
            self.delivery.request_close(session, CloseCode.GOING_AWAY)
        if self._open_sockets:
            await self._all_closed.wait()

    def _presence_sockets(self) -> Iterator[DeviceSocket]:
        """The sockets here that were heard of lately: in a node that slept for long the others may be dead."""
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if now - session.last_heard_at <= self.timeouts.close_after:
                yield presence_socket(session)

    async def _check_liveness(self) -> None:
        """Ping who is silent, close who stays silent or whose token has ended."""
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
                    # The connection may be gone, and its reader not told yet.
                    with suppress(ConnectionError, RuntimeError):
                        await session.socket.ping()

    async def _catch_up(self) -> None:
        """Look at every mailbox held here, hint or no hint."""
        while True:
            await asyncio.sleep(jittered(self.timeouts.catch_up_interval, 0.8, 1.2))
            for mailboxes in batched(list(self._sessions), MAX_MAILBOXES):
                try:
                    await self._check_mailboxes(mailboxes)
                except Unavailable:
                    break

    async def _check_mailboxes(self, mailboxes: Sequence[MailboxKey]) -> None:
        await self.revocation.close_revoked(
            [self._sessions[mailbox] for mailbox in mailboxes if mailbox in self._sessions]
        )
        for state in await self.services.mail_store.load_states(mailboxes):
            session = self._sessions.get(state.mailbox)
            if session is None or session.window is None:
                continue
            if state.is_ended:
                self.delivery.request_close(session, CloseCode.TOKEN_ENDED)
            elif state.connection > session.connection:
                self.delivery.request_close(session, CloseCode.TAKEN_OVER)
            else:
                self.release_acknowledged(state.mailbox, state.acknowledged.seq)
                if state.last.seq > session.window.sent:
                    self.collector.mark([state.mailbox])


def presence_socket(session: SocketSession) -> DeviceSocket:
    """The socket, as presence counts it."""
    return DeviceSocket(session.caller.user_id, session.mailbox, session.connection)
