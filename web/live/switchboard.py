"""The sockets open in this process: who joins, who is looked after, who leaves."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from vyry.errors import Unavailable
from vyry.ids import MailboxKey
from vyry.signals.places import Place
from vyry.signals.presence import Seat
from vyry.telemetry import SOCKETS
from web.live.collector import CHUNK, Collector
from web.live.delivery import Delivery
from web.live.ended import Ended
from web.live.hearing import Hearing
from web.live.pace import PACE, Pace
from web.live.session import CloseCode, Session, buffered


if TYPE_CHECKING:
    from vyry.bootstrap import Services


#: How long a node that goes away waits for the posts under way: longer than the store takes to say that it is away.
SETTLE_SECONDS: Final = 5.0


class Switchboard:
    """Holds the sessions of this node and the loops that serve them."""

    def __init__(self, services: "Services", pace: Pace = PACE) -> None:
        self.services = services
        self.pace = pace
        self.buckets = services.buckets
        #: No more long polls and no new sockets: the node says goodbye.
        self.is_draining = False
        self._sessions: dict[MailboxKey, Session] = {}
        #: Each with its place among those of its account and address.
        self._open: dict[Session, Place] = {}
        self._all_closed = asyncio.Event()
        self.delivery = Delivery(pace.slow)
        self.collector = Collector(services.mail_store, self._sessions)
        self.ended = Ended(services, self._open.keys(), self.delivery)
        self.hearing = Hearing(self._sessions, self.collector, self.delivery, services.doorbell, services.signals)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve for as long as the context is open."""
        self.services.router.serve(self.hearing)
        self.services.doorbell.listen(self.hearing)
        self.services.depositor.follow(self.hearing.on_deposited)
        async with asyncio.TaskGroup() as tasks:
            loops = [
                tasks.create_task(loop())
                for loop in (
                    self.collector.run,
                    self.delivery.run,
                    self.ended.run,
                    self._look_after,
                    self._catch_up,
                    self.services.signals.typists.run,
                    partial(self.services.signals.presence.run, self._seats),
                )
            ]
            try:
                yield
            finally:
                for loop in loops:
                    loop.cancel()

    async def join(self, session: Session) -> None:
        """The session's hello was right: it takes the device's place, on this node and on all others."""
        older = self._sessions.get(session.mailbox)
        if older is not None and older.connection > session.connection:
            # Two said hello at once, and the later one got here first.
            self.delivery.end(session, CloseCode.TAKEN_OVER)
            return
        if older is not None and older is not session:
            self.delivery.end(older, CloseCode.TAKEN_OVER)
        self._sessions[session.mailbox] = session
        session.is_behind = True
        await self.services.places.settle(self._open[session], session.mailbox)
        await self.services.doorbell.hold(session.mailbox, session.connection)
        self.services.signals.presence.come(seat_of(session))
        # From here on no hint is missed: what came before is found by reading, what is not numbered yet by a deposit.
        self.collector.mark([session.mailbox])
        self.services.depositor.add([session.mailbox])

    @asynccontextmanager
    async def admitted(self, session: Session, place: Place) -> AsyncIterator[None]:
        """Count and watch a socket from its upgrade to its end."""
        session.heard_at = time.monotonic()
        self._open[session] = place
        self._all_closed.clear()
        SOCKETS.inc()
        try:
            yield
        finally:
            del self._open[session]
            if not self._open:
                self._all_closed.set()
            SOCKETS.dec()
            session.is_closing = True
            place.is_taken_over = session.close_code is CloseCode.TAKEN_OVER
            if session.watch is not None:
                self.services.signals.presence.unwatch(session.watch, set(session.watch.users))
            if self._sessions.get(session.mailbox) is session:
                del self._sessions[session.mailbox]
                if not self.is_draining:
                    # Who has to leave because the node does comes back elsewhere, within the lease.
                    self.services.signals.presence.go(seat_of(session))
                await self.services.doorbell.release(session.mailbox, session.connection)

    def sent(self, mailbox: MailboxKey) -> int:
        """The highest number sent on this device's socket, if it is here; else 0."""
        session = self._sessions.get(mailbox)
        return session.window.sent if session is not None and session.window is not None else 0

    def acknowledged(self, mailbox: MailboxKey, seq: int) -> None:
        """Everything up to here was acknowledged elsewhere: the device's socket, if it is here, may be sent more."""
        session = self._sessions.get(mailbox)
        if session is not None and session.window is not None:
            session.window.release(seq)
            self.collector.look_again(session)

    async def drain(self) -> None:
        """Say goodbye to everybody, each with another moment to come back, and close; ends when all sockets are closed."""
        self.is_draining = True
        spread = secrets.SystemRandom()
        for session in list(self._open):
            after = round(spread.uniform(0, self.pace.goodbye), 1)
            session.send("goodbye", {"reason": "shutdown", "retryAfterSeconds": after})
        # What was posted before is answered first.
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self.services.post_office.settled()
        for session in list(self._open):
            self.delivery.end(session, CloseCode.GOING_AWAY)
        if self._open:
            await self._all_closed.wait()

    def _seats(self) -> Iterator[Seat]:
        """The sockets here that were heard of lately: in a node that slept for long the others may be dead."""
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if now - session.heard_at <= self.pace.silence:
                yield seat_of(session)

    async def _look_after(self) -> None:
        """Ping who is silent, close who stays silent or whose token has ended."""
        while True:
            await asyncio.sleep(self.pace.look)
            now, wall = time.monotonic(), self.services.clock.now().timestamp()
            for session in list(self._open):
                silence = now - session.heard_at
                if session.expires_at <= wall:
                    self.delivery.end(session, CloseCode.TOKEN_ENDED)
                elif silence > self.pace.silence:
                    self.delivery.end(session, CloseCode.SILENT)
                elif silence > self.pace.ping and not session.is_pinged and not buffered(session):
                    session.is_pinged = True
                    # The connection may be gone, and its reader not told yet.
                    with suppress(ConnectionError, RuntimeError):
                        await session.socket.ping()

    async def _catch_up(self) -> None:
        """Look at every mailbox held here, hint or no hint."""
        spread = secrets.SystemRandom()
        while True:
            await asyncio.sleep(self.pace.catch_up * spread.uniform(0.8, 1.2))
            held = list(self._sessions)
            for start in range(0, len(held), CHUNK):
                try:
                    await self._check(held[start : start + CHUNK])
                except Unavailable:
                    break

    async def _check(self, mailboxes: Sequence[MailboxKey]) -> None:
        await self.ended.confirm([self._sessions[mailbox] for mailbox in mailboxes if mailbox in self._sessions])
        for state in await self.services.mail_store.states(mailboxes):
            session = self._sessions.get(state.mailbox)
            if session is None or session.window is None:
                continue
            if state.is_ended:
                self.delivery.end(session, CloseCode.TOKEN_ENDED)
            elif state.connection > session.connection:
                self.delivery.end(session, CloseCode.TAKEN_OVER)
            else:
                self.acknowledged(state.mailbox, state.acknowledged.seq)
                if state.last.seq > session.window.sent:
                    self.collector.mark([state.mailbox])


def seat_of(session: Session) -> Seat:
    """The socket, as presence counts it."""
    return Seat(session.caller.user_id, session.mailbox, session.connection)
