"""The sweeper: deposits forgotten envelopes, and deletes what has expired. Every worker has one; several at once are safe.

Whatever happens to work records, the sweeper finds an undeposited envelope after the handover time. Errors are logged once per outage and end nothing.
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
from vyry.mail.overdue import report_backlog
from vyry.mail.routing import DepositQueue
from vyry.mail.store import OUTCOME_DAYS, MailUpkeep
from vyry.outage import OutageTracker
from vyry.telemetry import SWEEPER_FOUND, log


SWEEP_SECONDS: Final = 0.2
EXPIRE_SECONDS: Final = 5.0
RETIRE_SECONDS: Final = 60.0
MEASURE_SECONDS: Final = 10.0
ERROR_RETRY_SECONDS: Final = 5.0
#: The rows of one statement: its locks must be short, and the next batch follows at once.
MAX_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A task that runs every `seconds`: `run_batch` returns how much it did, and is called again at once after a full batch."""

    name: str
    seconds: float
    run_batch: Callable[[], Awaitable[int]]


class Sweeper:
    """Sweeps until cancelled, and runs `tasks`: clean-up of other packages."""

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
        # Once the database is back, envelopes must not wait for the sweeper.
        self._outage = OutageTracker("database", longest_seconds=0.4)

    def request_sweep(self) -> None:
        """Sweep at once, after a rebalance: work records on their way to the old owner of a partition may be lost."""
        self._sweep_requested.set()

    async def run(self) -> None:
        """Run all tasks until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(PeriodicTask("sweep", SWEEP_SECONDS, self._sweep), self._sweep_requested))
            for task in self._tasks:
                tasks.create_task(self._repeat(task, asyncio.Event()))

    async def _repeat(self, task: PeriodicTask, at_once: asyncio.Event) -> Never:
        while True:
            wait = jittered(task.seconds, 0.75, 1.25)
            try:
                while await task.run_batch() >= MAX_BATCH:
                    pass
                self._outage.record_success()
            except Unavailable as problem:
                wait = max(wait, self._outage.record_failure(problem))
            except Exception:  # noqa: BLE001
                # A task that fails ends neither the worker nor the other tasks.
                wait = max(wait, ERROR_RETRY_SECONDS)
                log.exception("periodic_task_failed", task=task.name)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await at_once.wait()

    async def _sweep(self) -> int:
        # After a rebalance even an envelope accepted this moment counts, by a clock that may be a little ahead.
        handover = -self._handover if self._sweep_requested.is_set() else self._handover
        self._sweep_requested.clear()
        found = await self._upkeep.find_unnumbered(self._clock.now() - handover, MAX_BATCH)
        if found:
            SWEEPER_FOUND.inc(len(found))
            self._depositor.add(found)
        # The depositor works on its own: another search at once would find the same mailboxes.
        return 0

    async def _expire(self) -> int:
        return await self._upkeep.expire(self._clock.confirmed_now(), MAX_BATCH)

    async def _delete_old_outcomes(self) -> int:
        return await self._upkeep.delete_old_outcomes(
            self._clock.confirmed_now() - timedelta(days=OUTCOME_DAYS), MAX_BATCH
        )

    async def _measure(self) -> int:
        await report_backlog(self._upkeep)
        return 0
