"""The membership of a worker: its name, its reports, and the rebalances that it asks for."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from agents import naming
from agents.membership import Membership
from agents.naming import WorkerNameTaken, claim_name
from agents.progress import Progress
from tests.support.fake_clock import NOON, FakeClock
from vyry.mail.assignment import Wishes
from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.partitions import Worker
from vyry.mail.workers import ClusterWishes, PastMove, WorkerIdentity, WorkerReport
from vyry.telemetry import PARTITION_LAG


ANN = WorkerIdentity(name="ann", host="here", version="1", boot=uuid4())


class MemoryWorkers:
    """A store with one live worker besides this one, which may have its name."""

    def __init__(self, *, holder: Worker | None = None, beats: bool = True) -> None:
        self.holder = holder
        self.beats = beats
        self.claims = 0
        self.found = ClusterWishes(wishes=Wishes(), live=frozenset({"ann", "bob"}), partitions=4)
        self.taken: list[list[int]] = []
        self.reports: list[WorkerReport] = []
        self.reported = asyncio.Event()

    async def claim(self, worker: WorkerIdentity, lost: Worker | None = None) -> Worker | None:
        self.claims += 1
        if self.holder is None or self.holder.name != worker.name or lost == self.holder:
            return None
        if self.beats:
            self.holder = replace(self.holder, heartbeat_at=self.holder.heartbeat_at + timedelta(seconds=1))
        return self.holder

    async def report(self, worker: WorkerIdentity, report: WorkerReport) -> bool:
        self.reports.append(report)
        self.reported.set()
        return self.holder is None

    async def take(self, worker: WorkerIdentity, numbers: Collection[int], seconds: float) -> list[PastMove]:
        self.taken.append(sorted(numbers))
        return []

    async def record_worst(self, worker: WorkerIdentity, since: datetime, worst: Mapping[int, float]) -> None:
        """Nothing moved."""

    async def leave(self, worker: WorkerIdentity) -> None:
        """Nothing to delete."""

    async def read_wishes(self) -> ClusterWishes:
        return self.found

    async def read_oldest(self) -> dict[int, float]:
        return {0: 0.5, 3: 9.0}


class RecordingGroup:
    def __init__(self) -> None:
        self.wishes = Wishes()
        self.rejoins = 0
        self.shares = 0
        self.consumer = self

    def ask_for_share(self) -> None:
        self.shares += 1

    def request_rejoin(self) -> None:
        self.rejoins += 1


def worker(name: str) -> Worker:
    return Worker(
        name=name, host="there", version="1", boot=uuid4(), started_at=NOON, heartbeat_at=NOON, cpu=0.0, memory_bytes=0, is_draining=False
    )  # fmt: skip


def open_membership(store: MemoryWorkers, group: RecordingGroup | None = None) -> Membership:
    meter = PartitionMeter(FakeClock())
    membership = Membership(store, meter, Progress(meter), group)
    membership.use_app(group)
    return membership


async def beat(membership: Membership, store: MemoryWorkers, times: int = 1) -> None:
    """Let it report so often."""
    running = asyncio.create_task(membership.run(ANN))
    for _ in range(times):
        store.reported.clear()
        async with asyncio.timeout(10):
            await store.reported.wait()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_the_name_of_a_live_worker_is_refused() -> None:
    with pytest.raises(WorkerNameTaken, match="The name ann is in use by a live worker on there"):
        await claim_name(MemoryWorkers(holder=worker("ann")), "ann")


async def test_the_name_of_a_lost_worker_is_taken_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "LOST_SECONDS", 0.1)
    store = MemoryWorkers(holder=worker("ann"), beats=False)

    assert (await claim_name(store, "ann")).name == "ann"


async def test_without_a_setting_the_first_free_number_of_the_host_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "pine.example.org")

    found = await claim_name(MemoryWorkers(holder=worker("pine-1")), None)

    assert (found.name, found.host) == ("pine-2", "pine.example.org")


async def test_the_only_process_of_a_node_waits_for_nobody() -> None:
    store = MemoryWorkers(holder=worker("ann"), beats=False)

    await claim_name(store, "ann", is_alone=True)

    assert store.claims == 2


async def test_an_assignment_is_stored_and_its_partitions_are_reported() -> None:
    store = MemoryWorkers()
    membership = open_membership(store)

    membership.on_assigned({2, 0})
    await beat(membership, store)

    assert store.taken == [[0, 2]]
    assert [(each.number, each.worst_seconds) for each in store.reports[-1].partitions] == [(0, 0.0), (2, 0.0)]


async def test_the_metrics_of_a_lost_partition_disappear() -> None:
    membership = open_membership(MemoryWorkers())
    membership.on_assigned({0, 1})
    for number in ("0", "1"):
        PARTITION_LAG.labels(number).set(7)

    membership.on_assigned({1})

    shown = {sample.labels["partition"] for metric in PARTITION_LAG.collect() for sample in metric.samples}
    assert shown & {"0", "1"} == {"1"}


async def test_a_worker_whose_name_another_process_took_ends() -> None:
    store = MemoryWorkers(holder=worker("ann"))

    with pytest.raises(WorkerNameTaken):
        await open_membership(store).run(ANN)


async def test_a_wish_for_one_of_its_partitions_starts_one_rebalance() -> None:
    store, group = MemoryWorkers(), RecordingGroup()
    membership = open_membership(store, group)
    membership.on_assigned({0, 1})
    store.found = replace(store.found, wishes=Wishes(seen_at=5.0, targets={1: "bob"}))

    await beat(membership, store, times=2)

    assert (group.rejoins, group.wishes.targets) == (1, {1: "bob"})


async def test_wishes_for_other_partitions_start_none() -> None:
    store, group = MemoryWorkers(), RecordingGroup()
    membership = open_membership(store, group)
    membership.on_assigned({0})
    store.found = replace(store.found, wishes=Wishes(targets={1: "bob"}))

    await beat(membership, store)

    assert group.rejoins == 0


async def test_a_worker_that_drains_no_longer_asks_for_its_share() -> None:
    store, group = MemoryWorkers(), RecordingGroup()
    membership = open_membership(store, group)
    store.found = replace(store.found, wishes=Wishes(draining=frozenset({"ann"})))
    await beat(membership, store)

    store.found = replace(store.found, wishes=Wishes())
    await beat(membership, store)

    assert (group.shares, group.rejoins) == (1, 1)
