"""Overdue envelopes: what no worker has deposited soon after its time is deposited by the web node that has the device's socket.

So a device that is connected gets its messages within a second of their commit whatever becomes of workers and Kafka. While all is well this costs one
lookup in the index of undeposited envelopes each `CHECK_SECONDS`, however many sockets and mailboxes there are.
"""

import asyncio
from datetime import timedelta
from typing import Final, Never

from vyry.clock import Clock
from vyry.errors import Unavailable
from vyry.kernel.backoff import jittered
from vyry.kernel.batches import batched
from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import DepositQueue, NodeSockets
from vyry.mail.store import MailUpkeep
from vyry.telemetry import MAILBOX_DEPTH, OLDEST_UNDEPOSITED, OVERDUE_FOUND


CHECK_SECONDS: Final = 0.2
#: The sweepers come first: an envelope is overdue so long after the handover time.
GRACE: Final = timedelta(milliseconds=150)
#: Mailboxes of one statement.
MAX_BATCH: Final = 1_000


class OverdueMail:
    """Finds overdue envelopes for the readers of this node, and adds their mailboxes to the depositor."""

    def __init__(
        self,
        upkeep: MailUpkeep,
        *,
        depositor: DepositQueue,
        sockets: NodeSockets,
        clock: Clock,
        handover_time: timedelta,
    ) -> None:
        self._upkeep = upkeep
        self._depositor = depositor
        self._sockets = sockets
        self._clock = clock
        self._overdue_after = handover_time + GRACE

    async def run(self) -> Never:
        """Check until cancelled. While the database is down nothing is deposited, and the check continues when it is up."""
        while True:
            await asyncio.sleep(jittered(CHECK_SECONDS, 0.75, 1.25))
            try:
                await self.check()
            except Unavailable:
                continue

    async def check(self) -> None:
        """Check once. Raises Unavailable."""
        moment = self._clock.now() - self._overdue_after
        found = await self._upkeep.find_unnumbered(moment, MAX_BATCH)
        if len(found) < MAX_BATCH:
            self._deposit(found)
            return
        # There may be many mailboxes without a reader before those with one.
        for readers in batched(list(self._sockets.current.readers), MAX_BATCH):
            self._deposit(await self._upkeep.find_unnumbered(moment, len(readers), among=readers))

    def _deposit(self, found: list[MailboxKey]) -> None:
        readers = self._sockets.current.readers
        here = [mailbox for mailbox in found if mailbox in readers]
        if here:
            OVERDUE_FOUND.inc(len(here))
            self._depositor.add(here)


async def report_backlog(upkeep: MailUpkeep) -> None:
    """Set the metrics of what waits in all mailboxes. Raises Unavailable."""
    depth, oldest_seconds = await upkeep.measure_backlog()
    MAILBOX_DEPTH.set(depth)
    OLDEST_UNDEPOSITED.set(oldest_seconds)
