"""Admission of hellos: many devices share a statement, and no more wait than the database carries.

Theory. After a restart or a network failure all devices of a node say hello at once. A statement for each would wait for the others until its time-out, and
fail after it had cost the database its time. So hellos wait in one queue, in order, and one loop opens their mailboxes batch by batch. It measures how many
the database carries a second, and makes batches of BATCH_SECONDS. A hello that would wait for more than MAX_WAIT_SECONDS is refused at once, with the
seconds after which its turn comes: each refused device gets a moment of its own, at the same rate, so they do not come back together.
"""

import asyncio
import math
import time
from asyncio import Future, get_running_loop
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from vyry.errors import NotFound, StaleHead, Unavailable
from vyry.kernel.coalescer import Coalescer
from vyry.kernel.ids import MailboxKey
from vyry.mail.depositing import Depositor
from vyry.mail.store import MailStore, ResumeInfo, ResumePoint
from vyry.telemetry import HELLO_RATE


#: How long one statement should take: long enough to share a commit, short enough for what waits for the same connection.
BATCH_SECONDS: Final = 0.25
#: Hellos of one statement: at first, and at most.
FIRST_BATCH: Final = 32
MAX_BATCH: Final = 512
#: A hello that would wait longer is refused. A device waits that long for `welcome`.
MAX_WAIT_SECONDS: Final = 10.0
#: More never wait, however fast the database was before.
MAX_WAITING: Final = 20_000
#: The longest wait that a refused device is asked for.
MAX_RETRY_SECONDS: Final = 60
#: The rate that is assumed until it is known.
ASSUMED_RATE: Final = MAX_BATCH / BATCH_SECONDS
#: After so long without a hello the rate is not known any more.
FORGET_SECONDS: Final = 10.0
_ANY_TIME: Final = datetime.max.replace(tzinfo=UTC)
#: The weight of the latest batch in the measured rate.
_WEIGHT: Final = 0.3


class _WaitingHello:
    """One hello in the queue."""

    __slots__ = ("outcome", "point")

    def __init__(self, point: ResumePoint) -> None:
        self.point = point
        self.outcome: Future[ResumeInfo | StaleHead | NotFound | Unavailable] = get_running_loop().create_future()

    def answer(self, outcome: ResumeInfo | StaleHead | NotFound | Unavailable) -> None:
        """Give the caller its outcome, unless it is gone."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Hellos:
    """Opens mailboxes for hellos at the rate that the database carries."""

    def __init__(self, store: MailStore, depositor: Depositor) -> None:
        self._store = store
        self._depositor = depositor
        self._waiting: Coalescer[_WaitingHello] = Coalescer()
        #: Mailboxes whose device has its socket since a moment.
        self._opened: Coalescer[MailboxKey] = Coalescer(MAX_BATCH)
        #: Hellos that are admitted and not answered.
        self._admitted = 0
        self._batch_size = FIRST_BATCH
        #: Hellos a second, as the latest full batches took; None while that is not known.
        self._rate: float | None = None
        #: The next batch may open a connection, so its time is not measured.
        self._is_cold = True
        self._measured_at = 0.0
        #: The last moment, in monotonic seconds, that a refused device was given.
        self._promised_at = 0.0

    @property
    def depth(self) -> int:
        """The hellos that wait."""
        return self._admitted

    @property
    def wait_seconds(self) -> float:
        """How long one more hello would wait."""
        return self._admitted / (self._rate or ASSUMED_RATE)

    async def open(self, point: ResumePoint) -> ResumeInfo:
        """Wait for the turn of this hello, and open its mailbox. Raises StaleHead with `cursor`, NotFound, and Unavailable with the wait until its turn."""
        if not self._admitted and time.monotonic() - self._measured_at > FORGET_SECONDS:
            self._rate = None
        if self._admitted >= MAX_WAITING or self.wait_seconds > MAX_WAIT_SECONDS:
            raise Unavailable("Too many devices reconnect at once.", self._retry_seconds())
        self._admitted += 1
        try:
            hello = _WaitingHello(point)
            self._waiting.add(hello)
            outcome = await hello.outcome
        finally:
            self._admitted -= 1
        if isinstance(outcome, ResumeInfo):
            return outcome
        raise outcome

    def add_opened(self, mailbox: MailboxKey) -> None:
        """A device has its socket now: deposit what was accepted for it since its hello."""
        self._opened.add(mailbox)

    async def run(self) -> None:
        """Open mailboxes, and look after opened ones, batch after batch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._open_waiting())
            tasks.create_task(self._opened.run(self._deposit_opened))

    async def _deposit_opened(self, mailboxes: Sequence[MailboxKey]) -> None:
        # While the database is down, the depositor retries for all of them.
        with suppress(Unavailable):
            mailboxes = await self._find_unnumbered(mailboxes)
        if mailboxes:
            self._depositor.add(mailboxes)

    async def _open_waiting(self) -> None:
        while True:
            await self._waiting.wait()
            if batch := self._take_batch():
                await self._open_batch(batch)

    def _take_batch(self) -> list[_WaitingHello]:
        """The next hellos, one of each mailbox: a second one of a mailbox waits for the next batch, and so counts as the later one."""
        batch: dict[MailboxKey, _WaitingHello] = {}
        taken = self._waiting.take(self._batch_size)
        self._waiting.restore([hello for hello in taken if batch.setdefault(hello.point.mailbox, hello) is not hello])
        # Without those whose caller was cancelled.
        return [hello for hello in batch.values() if not hello.outcome.done()]

    async def _open_batch(self, batch: list[_WaitingHello]) -> None:
        began = time.perf_counter()
        try:
            await self._flush([hello.point.mailbox for hello in batch])
            outcomes = await self._store.open_mailboxes([hello.point for hello in batch])
        except Unavailable as problem:
            self._batch_size = max(1, self._batch_size // 2)
            self._is_cold = True
            # Those that wait fail too: no device waits for two deadlines of the database.
            for hello in (*batch, *self._waiting.take()):
                hello.answer(problem)
            return
        self._measure(len(batch), time.perf_counter() - began)
        for hello, outcome in zip(batch, outcomes, strict=True):
            hello.answer(outcome)

    async def _flush(self, mailboxes: Sequence[MailboxKey]) -> None:
        """Deposit what was accepted for these mailboxes before their hellos: it must be sent before `drained`. Raises Unavailable."""
        found = await self._find_unnumbered(mailboxes)
        await asyncio.gather(*map(self._depositor.flush, found))

    async def _find_unnumbered(self, mailboxes: Sequence[MailboxKey]) -> list[MailboxKey]:
        """Those with undeposited envelopes. Nearly always there are none, and reading is far cheaper than a deposit, which locks and commits."""
        return await self._store.upkeep.find_unnumbered(_ANY_TIME, len(mailboxes), among=mailboxes)

    def _measure(self, count: int, seconds: float) -> None:
        """Learn from a batch. Only a full one that took its time, or had the largest size, shows what the database carries."""
        self._measured_at = time.monotonic()
        if self._is_cold or count < self._batch_size:
            self._is_cold = False
            return
        rate = count / max(seconds, 1e-6)
        if seconds < BATCH_SECONDS / 2 and count < MAX_BATCH:
            self._rate = None
        else:
            self._rate = rate if self._rate is None else self._rate + _WEIGHT * (rate - self._rate)
            HELLO_RATE.set(self._rate)
        # At most twice as many each time: the cost of a hello may grow with the batch.
        self._batch_size = max(1, min(MAX_BATCH, 2 * count, int(rate * BATCH_SECONDS)))

    def _retry_seconds(self) -> int:
        """The whole seconds until the turn of one more refused device."""
        now = time.monotonic()
        self._promised_at = max(self._promised_at, now + self.wait_seconds) + 1 / (self._rate or ASSUMED_RATE)
        return max(1, min(MAX_RETRY_SECONDS, math.ceil(self._promised_at - now)))
