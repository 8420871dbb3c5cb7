"""Collect and acknowledge: what a device asks of its mailbox, over REST or a socket. Concurrent acknowledgements share a transaction."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from vyry.errors import NotFound, StaleHead, Unavailable, VyryError
from vyry.ids import MailboxKey, MessageId
from vyry.mail.store import Cursor, Entry, Greeting, MailboxState, MailStore, Point, Want
from vyry.telemetry import record


#: How long acknowledgements gather: a device waits for the answer, nobody for the deletion.
GATHER_SECONDS = 0.02
#: A page by REST holds no more content than this, but at least one entry.
PAGE_BYTES = 1 << 20

#: So many acknowledgements of one mailbox may wait: an honest window has no more entries than this.
WAITING_POINTS = 1_024

AcknowledgeAnswer = Callable[[Cursor | VyryError], None]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a mailbox read by REST."""

    entries: list[Entry]
    is_drained: bool
    state: MailboxState
    #: See Greeting.
    last_message_id: MessageId | None


class Mailboxes:
    """Reads and forgets. What is acknowledged is never delivered again."""

    def __init__(self, store: MailStore) -> None:
        self._store = store
        self._waiting: dict[MailboxKey, list[tuple[Point, AcknowledgeAnswer]]] = {}
        self._wake = asyncio.Event()

    async def open(self, mailbox: MailboxKey, after: int, head: bytes | None) -> Greeting:
        """Resume behind a point that was sent before; counts as a hello. Raises StaleHead with `cursor`, NotFound."""
        return await self._store.open_mailbox(mailbox, after, head)

    async def page(self, mailbox: MailboxKey, after: int, limit: int) -> Page:
        """Entries behind `after` (or behind the acknowledged point, if that is later), noted as sent. Raises StaleHead beyond the end, NotFound."""
        greeting = await self._look(mailbox)
        state = greeting.state
        if after > state.last.seq:
            raise StaleHead(cursor=state.acknowledged)
        start = max(after, state.acknowledged.seq)
        began = time.perf_counter()
        entries = await self._store.collect([Want(mailbox, start, limit, PAGE_BYTES)])
        record("collect", len(entries), time.perf_counter() - began)
        reached = entries[-1].seq if entries else start
        if entries:
            await self._store.sent(mailbox, reached)
        return Page(entries, reached >= state.last.seq, state, greeting.last_message_id)

    def acknowledge(self, point: Point, answer: AcknowledgeAnswer) -> None:
        """Put an acknowledgement into the next batch; `answer` is called once, in the event loop, after the commit. Raises Unavailable."""
        waiting = self._waiting.setdefault(point.mailbox, [])
        if len(waiting) >= WAITING_POINTS:
            raise Unavailable("Too many acknowledgements wait.", 1)
        waiting.append((point, answer))
        self._wake.set()

    async def acknowledged(self, point: Point) -> Cursor:
        """Acknowledge and wait for the commit. Raises StaleHead with `cursor`, Unavailable."""
        outcome: asyncio.Future[Cursor | VyryError] = asyncio.get_running_loop().create_future()
        self.acknowledge(point, lambda said: None if outcome.done() else outcome.set_result(said))
        said = await outcome
        if isinstance(said, VyryError):
            raise said
        return said

    async def park(self, mailbox: MailboxKey, seq: int) -> None:
        """Set one entry aside: it comes as a tombstone from now on. Raises NotFound."""
        if not await self._store.park(mailbox, seq):
            raise NotFound

    async def run(self) -> None:
        """Commit acknowledgements, batch after batch, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            waiting, self._waiting = self._waiting, {}
            self._wake.clear()
            # Who named a wrong point waits for the next batch with his lower ones: nobody else waits for them.
            for mailbox, asked in (await self._forget(waiting)).items():
                self._waiting[mailbox] = asked + self._waiting.get(mailbox, [])
                self._wake.set()

    async def _forget(
        self, waiting: dict[MailboxKey, list[tuple[Point, AcknowledgeAnswer]]]
    ) -> dict[MailboxKey, list[tuple[Point, AcknowledgeAnswer]]]:
        """Try the highest point of each mailbox; a right one answers for the lower ones too, a wrong one is refused alone. Answers what is left."""
        began = time.perf_counter()
        highest = {box: max(asked, key=lambda pair: pair[0].seq) for box, asked in waiting.items()}
        try:
            cursors = await self._store.acknowledge([point for point, _ in highest.values()])
        except Unavailable as away:
            record("acknowledge", len(highest), time.perf_counter() - began, failures=len(highest))
            # Those who came meanwhile too: nobody waits for two deadlines of a database that is away.
            meanwhile, self._waiting = self._waiting, {}
            for asked in (*waiting.values(), *meanwhile.values()):
                for _, answer in asked:
                    answer(away)
            return {}
        record("acknowledge", len(highest), time.perf_counter() - began)
        left: dict[MailboxKey, list[tuple[Point, AcknowledgeAnswer]]] = {}
        refused: list[tuple[Point, AcknowledgeAnswer]] = []
        for (box, pair), cursor in zip(highest.items(), cursors, strict=True):
            if cursor is None:
                refused.append(pair)
                rest = [other for other in waiting[box] if other is not pair]
                left |= {box: rest} if rest else {}
                continue
            for point, answer in waiting[box]:
                is_wrong = point.seq == cursor.seq and point.head != cursor.head
                answer(StaleHead(cursor=cursor) if is_wrong else cursor)
        await self._refuse(refused)
        return left

    async def _refuse(self, refused: list[tuple[Point, AcknowledgeAnswer]]) -> None:
        if not refused:
            return
        try:
            states = {
                state.mailbox: state for state in await self._store.states({point.mailbox for point, _ in refused})
            }
        except Unavailable as away:
            for _, answer in refused:
                answer(away)
            return
        for point, answer in refused:
            state = states.get(point.mailbox)
            answer(StaleHead(cursor=state.acknowledged) if state else NotFound())

    async def _look(self, mailbox: MailboxKey) -> Greeting:
        greeting = await self._store.upkeep.look(mailbox)
        if greeting is None or greeting.state.is_ended:
            raise NotFound
        return greeting
