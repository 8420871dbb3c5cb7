"""Collect and acknowledge, over REST or a socket. Concurrent acknowledgements share a transaction."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from vyry.errors import NotFound, StaleHead, Unavailable, VyryError
from vyry.kernel.ids import MailboxKey, MessageId
from vyry.mail.store import Acknowledgement, CollectRequest, Cursor, Entry, MailboxState, MailStore, ResumeInfo
from vyry.telemetry import record
from vyry.tracing import trace_step


#: How long acknowledgements gather for one transaction.
BATCH_WINDOW_SECONDS = 0.02
#: The most content of a page by REST; it has at least one entry.
MAX_PAGE_BYTES = 1 << 20
#: The most pending acknowledgements of one mailbox; a send window has no more entries.
MAX_PENDING_ACKNOWLEDGEMENTS = 1_024

AcknowledgeCallback = Callable[[Cursor | VyryError], None]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a mailbox read by REST."""

    entries: list[Entry]
    is_drained: bool
    state: MailboxState
    #: See ResumeInfo.
    last_message_id: MessageId | None


class Mailboxes:
    """Reads mailboxes and acknowledges entries. An acknowledged entry is never delivered again."""

    def __init__(self, store: MailStore) -> None:
        self._store = store
        self._pending: dict[MailboxKey, list[tuple[Acknowledgement, AcknowledgeCallback]]] = {}
        self._wake = asyncio.Event()

    async def page(self, mailbox: MailboxKey, after: int, limit: int) -> Page:
        """Entries after `after` (or after the acknowledged point, if that is later), recorded as sent. Raises StaleHead beyond the end, NotFound."""
        resume_info = await self._load_resume_info(mailbox)
        state = resume_info.state
        if after > state.last.seq:
            raise StaleHead(cursor=state.acknowledged)
        start = max(after, state.acknowledged.seq)
        began = time.perf_counter()
        entries = await self._store.collect([CollectRequest(mailbox, start, limit, MAX_PAGE_BYTES)])
        record("collect", len(entries), time.perf_counter() - began)
        reached = entries[-1].seq if entries else start
        if entries:
            await self._store.record_sent(mailbox, reached)
        return Page(entries, reached >= state.last.seq, state, resume_info.last_message_id)

    def acknowledge(self, point: Acknowledgement, callback: AcknowledgeCallback) -> None:
        """Put an acknowledgement into the next batch; `callback` is called once, in the event loop, after the commit. Raises Unavailable."""
        waiting = self._pending.setdefault(point.mailbox, [])
        if len(waiting) >= MAX_PENDING_ACKNOWLEDGEMENTS:
            raise Unavailable("Too many pending acknowledgements.", 1)
        waiting.append((point, callback))
        self._wake.set()

    @property
    def depth(self) -> int:
        """The mailboxes whose acknowledgements wait."""
        return len(self._pending)

    async def acknowledge_and_wait(self, point: Acknowledgement) -> Cursor:
        """Acknowledge and wait for the commit. Raises StaleHead with `cursor`, Unavailable."""
        outcome: asyncio.Future[Cursor | VyryError] = asyncio.get_running_loop().create_future()
        self.acknowledge(point, lambda result: None if outcome.done() else outcome.set_result(result))
        result = await outcome
        if isinstance(result, VyryError):
            raise result
        return result

    async def discard(self, mailbox: MailboxKey, seq: int) -> None:
        """Turn one entry into a loss. Raises NotFound."""
        if not await self._store.discard(mailbox, seq):
            raise NotFound

    async def run(self) -> None:
        """Commit acknowledgements, batch after batch, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(BATCH_WINDOW_SECONDS)
            waiting, self._pending = self._pending, {}
            self._wake.clear()
            # The lower points of a mailbox whose highest was wrong wait for the next batch; other mailboxes do not.
            for mailbox, asked in (await self._commit_batch(waiting)).items():
                self._pending[mailbox] = asked + self._pending.get(mailbox, [])
                self._wake.set()

    async def _commit_batch(
        self, pending: dict[MailboxKey, list[tuple[Acknowledgement, AcknowledgeCallback]]]
    ) -> dict[MailboxKey, list[tuple[Acknowledgement, AcknowledgeCallback]]]:
        """Acknowledge the highest point of each mailbox; a valid one answers for the lower ones too, a wrong one is rejected alone. Returns what is left."""
        began = time.perf_counter()
        highest = {box: max(asked, key=lambda pair: pair[0].seq) for box, asked in pending.items()}
        try:
            cursors = await self._store.acknowledge([point for point, _ in highest.values()])
        except Unavailable as error:
            record("acknowledge", len(highest), time.perf_counter() - began, failures=len(highest))
            # The acknowledgements that arrived meanwhile fail too: no caller waits for two deadlines of the database.
            meanwhile, self._pending = self._pending, {}
            for asked in (*pending.values(), *meanwhile.values()):
                for _, answer in asked:
                    answer(error)
            return {}
        record("acknowledge", len(highest), time.perf_counter() - began)
        trace_step("acknowledge", highest, began)
        left: dict[MailboxKey, list[tuple[Acknowledgement, AcknowledgeCallback]]] = {}
        refused: list[tuple[Acknowledgement, AcknowledgeCallback]] = []
        for (box, pair), cursor in zip(highest.items(), cursors, strict=True):
            if cursor is None:
                refused.append(pair)
                rest = [other for other in pending[box] if other is not pair]
                left |= {box: rest} if rest else {}
                continue
            for point, answer in pending[box]:
                is_wrong = point.seq == cursor.seq and point.head != cursor.head
                answer(StaleHead(cursor=cursor) if is_wrong else cursor)
        await self._reject(refused)
        return left

    async def _reject(self, rejected: list[tuple[Acknowledgement, AcknowledgeCallback]]) -> None:
        if not rejected:
            return
        try:
            states = {
                state.mailbox: state
                for state in await self._store.load_states({point.mailbox for point, _ in rejected})
            }
        except Unavailable as error:
            for _, answer in rejected:
                answer(error)
            return
        for point, answer in rejected:
            state = states.get(point.mailbox)
            answer(StaleHead(cursor=state.acknowledged) if state else NotFound())

    async def _load_resume_info(self, mailbox: MailboxKey) -> ResumeInfo:
        resume_info = await self._store.upkeep.load_resume_info(mailbox)
        if resume_info is None or resume_info.state.is_ended:
            raise NotFound
        return resume_info
