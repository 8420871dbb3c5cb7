"""The sweeper: finds what was forgotten, and clears away what is over. Every worker has one; several at once do each other no harm.

Whatever the stream layer does, an envelope without a number is found here after the hand-over time. Failures are told once per outage, and end nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Never

from vyry.clock import Clock
from vyry.errors import Unavailable
from vyry.kernel.backoff import jittered
from vyry.mail.routing import DepositQueue
from vyry.mail.store import OUTCOME_DAYS, MailUpkeep
from vyry.outage import OutageTracker
from vyry.telemetry import MAILBOX_DEPTH, OLDEST_UNDEPOSITED, SWEEPER_FOUND, log


SWEEP_SECONDS: Final = 0.25
EXPIRE_SECONDS: Final = 5.0
RETIRE_SECONDS: Final = 60.0
MEASURE_SECONDS: Final = 10.0
ERROR_RETRY_SECONDS: Final = 5.0
#: What one statement may take: its locks must be short, and the next batch follows at once.
MAX_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Something done every so often, in batches: `work` answers how much it did, and is called again at once while that is a full batch."""

    name: str
    seconds: float
    run_batch: Callable[[], Awaitable[int]]


class Sweeper:
    """Sweeps until cancelled. `chores` are clearing-up jobs of other parts of the house."""

    def __init__(
        self,
        upkeep: MailUpkeep,
        *,
        depositor: DepositQueue,
        clock: Clock,
        handover_time: timedelta,
        tasks: Sequence[PeriodicTask] = (),
    ) -> None:
        self._upkeep = upkeep
        self._depositor = depositor
        self._clock = clock
        self._handover = handover_time
        self._tasks = (
            PeriodicTask("expire", EXPIRE_SECONDS, self._expire),
            PeriodicTask("retire", RETIRE_SECONDS, self._delete_old_outcomes),
            PeriodicTask("measure", MEASURE_SECONDS, self._measure),
            *tasks,
        )
        self._sweep_requested = asyncio.Event()
        self._outage = OutageTracker("database")

    def request_sweep(self) -> None:
        """Partitions have changed hands: what was on its way to their old owner need not wait for the next turn."""
        self._sweep_requested.set()

    async def run(self) -> None:
        """Do everything in its own time, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(PeriodicTask("sweep", SWEEP_SECONDS, self._sweep), self._sweep_requested))
            for chore in self._tasks:
                tasks.create_task(self._repeat(chore, asyncio.Event()))

    async def _repeat(self, chore: PeriodicTask, at_once: asyncio.Event) -> Never:
        while True:
            wait = jittered(chore.seconds, 0.75, 1.25)
            try:
                while await chore.run_batch() >= MAX_BATCH:
                    pass
                self._outage.record_success()
            except Unavailable as problem:
                wait = max(wait, self._outage.record_failure(problem))
            except Exception:  # noqa: BLE001
                # Neither the worker nor the other chores end with a chore that fails.
                wait = max(wait, ERROR_RETRY_SECONDS)
                log.exception("periodic_task_failed", task=chore.name)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await at_once.wait()

    async def _sweep(self) -> int:
        # When partitions changed hands, even what was accepted this moment counts, by a clock that may be a little ahead.
        handover = -self._handover if self._sweep_requested.is_set() else self._handover
        self._sweep_requested.clear()
        found = await self._upkeep.find_unnumbered(self._clock.now() - handover, MAX_BATCH)
        if found:
            SWEEPER_FOUND.inc(len(found))
            self._depositor.add(found)
        # What was found is numbered by the depositor in its own time: looking again at once would find the same.
        return 0

    async def _expire(self) -> int:
        return await self._upkeep.expire(self._clock.confirmed_now(), MAX_BATCH)

    async def _delete_old_outcomes(self) -> int:
        return await self._upkeep.delete_old_outcomes(
            self._clock.confirmed_now() - timedelta(days=OUTCOME_DAYS), MAX_BATCH
        )

    async def _measure(self) -> int:
        depth, oldest_seconds = await self._upkeep.measure_backlog()
        MAILBOX_DEPTH.set(depth)
        OLDEST_UNDEPOSITED.set(oldest_seconds)
        return 0
