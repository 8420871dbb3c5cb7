"""This worker among the workers: its heartbeat, the partitions that it has, and the wishes of the operator that it follows, once a second.

While the database is down the worker keeps its partitions: which worker reads which is decided in Kafka.
"""

import asyncio
import os
import resource
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, Never, Protocol

from agents.naming import WorkerNameTaken
from agents.progress import Progress
from vyry.errors import Unavailable
from vyry.mail.assignment import Wishes
from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.workers import HEARTBEAT_SECONDS, ClusterWishes, WorkerIdentity, WorkerReport, WorkerStore
from vyry.telemetry import PARTITION_LAG, log


#: A wish that a rebalance did not fulfil is tried again after this time.
RETRY_SECONDS: Final = 15.0
#: The heartbeat of a process without Kafka: its database is a file, and no other worker waits for it.
ALONE_SECONDS: Final = 4.0
#: How long after a move the worst age at a deposit counts for it.
MOVE_SECONDS: Final = 10.0


class Group(Protocol):
    """What a worker says in Kafka's group (vyry/kafka/assignor.py)."""

    wishes: Wishes

    def ask_for_share(self) -> None:
        """Get as many partitions as the others in the next rebalance."""
        ...


class Membership:
    """The heartbeat and the partitions of this worker. `group` is None in a process without Kafka."""

    def __init__(
        self, store: WorkerStore, meter: PartitionMeter, progress: Progress, group: Group | None = None
    ) -> None:
        self._store = store
        self._meter = meter
        self._progress = progress
        self._group = group
        self._heartbeat_seconds = HEARTBEAT_SECONDS if group else ALONE_SECONDS
        #: Starts a rebalance of the group, None while no app runs.
        self._request_rejoin: Callable[[], None] | None = None
        self._owned: Sequence[int] = ()
        self._revoked_at: float | None = None
        self._rebalance_seconds = 0.0
        self._assigned = asyncio.Event()
        self._usage = _Usage()
        self._move: tuple[float, datetime] | None = None
        self._tried: tuple[float, Wishes] = (0.0, Wishes())
        self._is_draining = False

    def use_app(self, app: object | None) -> None:
        """This app runs from now on, or none."""
        self._request_rejoin = getattr(getattr(app, "consumer", None), "request_rejoin", None)

    def on_revoked(self) -> None:
        """A rebalance begins: no worker reads until it ends."""
        self._revoked_at = time.monotonic()

    def on_assigned(self, partitions: Collection[int]) -> None:
        """A rebalance has ended, and this worker has these partitions."""
        before, self._owned = set(self._owned), sorted(partitions)
        self._meter.keep(self._owned)
        for number in before.difference(self._owned):
            with suppress(KeyError):
                PARTITION_LAG.remove(str(number))
        self._rebalance_seconds = 0.0 if self._revoked_at is None else time.monotonic() - self._revoked_at
        log.info(
            "partitions_assigned",
            partitions=self._owned,
            gained=sorted(set(self._owned) - before),
            lost=sorted(before.difference(self._owned)),
            seconds=round(self._rebalance_seconds, 2),
        )
        self._assigned.set()

    async def run(self, worker: WorkerIdentity) -> Never:
        """Report until cancelled. Raises WorkerNameTaken when another process has taken the name."""
        while True:
            try:
                await self._take(worker)
                await self._report(worker)
                self._follow(worker.name, await self._store.read_wishes())
            except Unavailable:
                # An assignment that is not stored yet would not let the loop wait.
                await asyncio.sleep(HEARTBEAT_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._assigned.wait()

    async def leave(self, worker: WorkerIdentity) -> None:
        """The process ends: its partitions have no worker until another one takes them."""
        with suppress(Unavailable):
            await self._store.leave(worker)

    async def _take(self, worker: WorkerIdentity) -> None:
        """Store a new assignment."""
        if not self._assigned.is_set():
            return
        # Before the store is asked: the next assignment may come while it answers.
        self._assigned.clear()
        try:
            moves = await self._store.take(worker, self._owned, self._rebalance_seconds)
        except Unavailable:
            self._assigned.set()
            raise
        if moves:
            self._move = (time.monotonic() + MOVE_SECONDS, moves[0].at)

    async def _report(self, worker: WorkerIdentity) -> None:
        self._meter.tick()
        for number, seconds in (await self._store.read_oldest()).items():
            if number in self._owned:
                self._meter.raise_worst(number, seconds)
        cpu, memory = self._usage.read()
        reports = self._progress.reports(self._owned)
        if not await self._store.report(worker, WorkerReport(cpu=cpu, memory_bytes=memory, partitions=reports)):
            holder = await self._store.claim(worker)
            if holder is not None:
                raise WorkerNameTaken(holder)
        if self._move is not None and time.monotonic() < self._move[0]:
            worst = {each.number: each.worst_seconds for each in reports if each.worst_seconds}
            await self._store.record_worst(worker, self._move[1], worst)

    def _follow(self, name: str, found: ClusterWishes) -> None:
        """Start a rebalance when the operator wants a partition of this worker elsewhere, or when this worker drains no longer."""
        self._meter.partitions = max(1, found.partitions)
        if self._group is None:
            return
        wishes, self._group.wishes = found.wishes, found.wishes
        was_draining, self._is_draining = self._is_draining, name in wishes.draining
        is_back = was_draining and not self._is_draining
        if is_back:
            self._group.ask_for_share()
        if self._request_rejoin is None:
            return
        if is_back or (wishes.has_unmet(name, self._owned, found.live) and self._is_new(wishes)):
            self._tried = (time.monotonic(), wishes)
            log.info("rebalance_requested", reason="wishes of the operator")
            self._request_rejoin()

    def _is_new(self, wishes: Wishes) -> bool:
        """Whether these wishes were not tried yet, or long ago: a target may live and yet not be in the group."""
        at, tried = self._tried
        is_same = (tried.targets, tried.draining) == (wishes.targets, wishes.draining)
        return not is_same or time.monotonic() - at >= RETRY_SECONDS


class _Usage:
    """What this process uses."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._cpu = time.process_time()

    def read(self) -> tuple[float, int]:
        """The share of one core since the last call, and the resident memory."""
        at, cpu = time.monotonic(), time.process_time()
        share = (cpu - self._cpu) / max(0.001, at - self._at)
        self._at, self._cpu = at, cpu
        return share, _resident_bytes()


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        # Not Linux: the most that it ever was.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
