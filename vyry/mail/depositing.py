"""Deposit: a set of dirty mailboxes and one loop. The mailbox agents, the router and the sweeper add mailboxes."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress

from vyry.errors import Unavailable
from vyry.kernel.ids import MailboxKey
from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.routing import NodeSockets, Notifier
from vyry.mail.store import MailStore
from vyry.telemetry import POISONED_MAILBOXES, log, record
from vyry.tracing import trace_step


#: Mailboxes of one transaction: enough to share its cost, few enough to keep its locks short.
MAX_BATCH_MAILBOXES = 512
#: While the database is down: mail waits no longer than that once it is up again.
_RETRY_SECONDS = (0.1, 0.2, 0.4)
#: A poisoned mailbox is skipped for this time. The sweeper keeps finding it, so it is tried again afterwards.
POISON_RETRY_SECONDS = 60.0
#: How long a reader waits for the deposit of its mailbox; after that it gets the entries later.
FLUSH_TIMEOUT_SECONDS = 0.5


class Depositor:
    """Deposits the envelopes of dirty mailboxes, batch by batch; while one batch commits, the next one gathers.

    Each committed batch goes to the sockets of this node, and the nodes of all other mailboxes are notified. While the database is down, the depositor
    retries without end. A mailbox whose deposit fails alone is poisoned: counted, skipped for a minute, and no delay for the others.
    """

    def __init__(self, store: MailStore, *, notifier: Notifier, sockets: NodeSockets) -> None:
        self._store = store
        self._notifier = notifier
        self._sockets = sockets
        self._dirty: dict[MailboxKey, None] = {}
        #: Mailboxes with entries that posts of this node deposited, and without a reader here.
        self._elsewhere: set[MailboxKey] = set()
        self._wake = asyncio.Event()
        self._poisoned: dict[MailboxKey, float] = {}
        self._flush_waiters: dict[MailboxKey, asyncio.Event] = {}
        self._meter: PartitionMeter | None = None

    def attach_meter(self, meter: PartitionMeter) -> None:
        """Count deposits by partition from now on: a worker reports them."""
        self._meter = meter

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        """These mailboxes may have undeposited envelopes. Cheap, and safe to repeat."""
        self._dirty.update(dict.fromkeys(mailboxes))
        self._wake.set()

    def add_deposited(self, mailboxes: Iterable[MailboxKey]) -> None:
        """Notify the nodes of these mailboxes: a post has deposited there, and their readers have left this node."""
        self._elsewhere.update(mailboxes)
        self._wake.set()

    @property
    def depth(self) -> int:
        """The mailboxes that wait."""
        return len(self._dirty)

    async def flush(self, mailbox: MailboxKey) -> None:
        """Wait until the envelopes accepted for this mailbox are deposited, at most FLUSH_TIMEOUT_SECONDS; never raises. A poisoned mailbox is not waited for."""
        waiter = self._flush_waiters.setdefault(mailbox, asyncio.Event())
        self.add([mailbox])
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                await waiter.wait()

    async def run(self) -> None:
        """Deposit until cancelled."""
        failures = 0
        while True:
            await self._wake.wait()
            elsewhere, self._elsewhere = self._elsewhere, set()
            if elsewhere:
                await self._notifier.notify(elsewhere)
            batch = self._pop_batch()
            try:
                await self._deposit_once(batch)
                failures = 0
            except Unavailable:
                self.add(batch)
                await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1

    async def _deposit_once(self, batch: list[MailboxKey]) -> None:
        """Deposit once, and release the callers of `flush` for these mailboxes."""
        waiters = [self._flush_waiters.pop(mailbox) for mailbox in batch if mailbox in self._flush_waiters]
        try:
            await self._deposit([mailbox for mailbox in batch if mailbox not in self._poisoned])
        finally:
            for waiter in waiters:
                waiter.set()

    def _pop_batch(self) -> list[MailboxKey]:
        batch = list(self._dirty)[:MAX_BATCH_MAILBOXES]
        for mailbox in batch:
            del self._dirty[mailbox]
        if not self._dirty:
            self._wake.clear()
        if self._poisoned:
            now = time.monotonic()
            self._poisoned = {mailbox: until for mailbox, until in self._poisoned.items() if until > now}
        return batch

    async def _deposit(self, batch: list[MailboxKey]) -> None:
        if not batch:
            return
        began = time.perf_counter()
        try:
            rows = await self._store.deposit(batch)
        except Unavailable:
            record("deposit", len(batch), time.perf_counter() - began, failures=len(batch))
            raise
        except Exception as problem:  # noqa: BLE001 - poison must not stop the other mailboxes of the batch
            await self._bisect(batch, problem)
            return
        record("deposit", len(rows), time.perf_counter() - began)
        trace_step("deposit", (row.mailbox for row in rows), began)
        if self._meter is not None:
            self._meter.count_deposited(batch, rows)
        if rows and (elsewhere := self._sockets.current.on_deposited(rows)):
            await self._notifier.notify(elsewhere)

    async def _bisect(self, batch: list[MailboxKey], problem: Exception) -> None:
        """Find the mailbox that fails by halving the batch, and poison it."""
        if len(batch) == 1:
            POISONED_MAILBOXES.inc()
            self._poisoned[batch[0]] = time.monotonic() + POISON_RETRY_SECONDS
            log.error(
                "mailbox_poisoned",
                mailbox=batch[0],
                error=type(problem).__name__,
                retry_after_seconds=POISON_RETRY_SECONDS,
            )
            return
        middle = len(batch) // 2
        await self._deposit(batch[:middle])
        await self._deposit(batch[middle:])
