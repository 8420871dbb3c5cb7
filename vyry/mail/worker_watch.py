"""Whether workers live, by their heartbeats: while none does, each web node deposits for all mailboxes of its posts (`Router`).

One statement each second, whatever the number of workers and mailboxes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Never

from vyry.errors import Unavailable
from vyry.mail.overdue import report_backlog
from vyry.mail.store import MailUpkeep
from vyry.telemetry import log


CHECK_SECONDS: Final = 1.0
#: So many checks in a row must find none: a worker that starts writes its first heartbeat within a second.
MISSES: Final = 2


class WorkerWatch:
    """WorkerLiveness by the heartbeats in the database."""

    def __init__(self, count_live: Callable[[], Awaitable[int]], upkeep: MailUpkeep) -> None:
        self._count_live = count_live
        self._upkeep = upkeep
        #: Before the first check there may be workers, and the overdue check finds what they leave.
        self.is_any_alive = True
        self._misses = 0

    async def run(self) -> Never:
        """Check until cancelled. While the database is down no process deposits, so what was found before stays."""
        while True:
            with suppress(Unavailable):
                await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Check once. Raises Unavailable."""
        count = await self._count_live()
        self._misses = 0 if count else self._misses + 1
        if not self.is_any_alive and count:
            log.info("workers_alive", count=count)
        elif self._misses == MISSES:
            log.error("no_worker_alive")
        self.is_any_alive = self._misses < MISSES
        if not self.is_any_alive:
            # Otherwise the sweepers of the workers measure.
            await report_backlog(self._upkeep)
