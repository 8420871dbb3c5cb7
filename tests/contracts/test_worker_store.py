"""What every store of workers and partitions promises: one process has a name, a report counts only for partitions that the worker has, and moves keep their cause."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.support.fake_clock import NOON
from vyry.mail.partitions import Partition
from vyry.mail.workers import MoveCause, PartitionReport, WorkerIdentity, WorkerReport
from vyry.storage.database import connection, open_database
from vyry.storage.partition_models import WorkerRow
from vyry.storage.partitions import PartitionStore, PlanStore, StoredPlan
from vyry.storage.workers import TortoiseWorkers


ANN = WorkerIdentity(name="ann", host="one.example", version="1.0", boot=uuid4())
BOB = WorkerIdentity(name="bob", host="two.example", version="1.0", boot=uuid4())
IDLE = WorkerReport(cpu=0.0, memory_bytes=0)
LOST = timedelta(seconds=61)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def workers(url: str) -> AsyncIterator[TortoiseWorkers]:
    async with open_database(url):
        await PartitionStore().create_map(4, "vyry-mailbags")
        yield TortoiseWorkers()


async def silence(worker: WorkerIdentity) -> None:
    """Its last heartbeat was long ago."""
    row = await WorkerRow.get(name=worker.name)
    await WorkerRow.filter(name=worker.name).update(heartbeat_at=row.heartbeat_at - LOST)


async def partition(number: int) -> Partition:
    return (await PartitionStore().read_cluster()).partitions[number]


async def test_a_name_is_that_of_one_process(workers: TortoiseWorkers) -> None:
    second = replace(ANN, boot=uuid4(), host="three.example")
    assert await workers.claim(ANN) is None

    holder = await workers.claim(second)

    assert holder is not None
    assert (holder.boot, holder.host) == (ANN.boot, "one.example")
    assert await workers.report(ANN, IDLE)
    assert not await workers.report(second, IDLE)


async def test_the_name_of_a_lost_process_is_free(workers: TortoiseWorkers) -> None:
    second = replace(ANN, boot=uuid4())
    await workers.claim(ANN)
    await silence(ANN)

    assert await workers.claim(second) is None

    assert not await workers.report(ANN, IDLE)


async def test_a_process_that_wrote_no_heartbeat_since_it_was_seen_is_lost(workers: TortoiseWorkers) -> None:
    second, third = replace(ANN, boot=uuid4()), replace(ANN, boot=uuid4())
    await workers.claim(ANN)
    seen = await workers.claim(second)
    assert await workers.claim(second, lost=seen) is None

    seen = await workers.claim(third)
    await workers.report(second, IDLE)

    assert await workers.claim(third, lost=seen) is not None


async def test_of_two_that_claim_a_name_at_once_one_has_it(workers: TortoiseWorkers) -> None:
    rivals = [replace(ANN, boot=uuid4()) for _ in range(4)]

    holders = await asyncio.gather(*(workers.claim(each) for each in rivals))

    assert holders.count(None) == 1


async def test_a_heartbeat_has_cpu_and_memory_and_leaves_the_drain_of_the_operator(workers: TortoiseWorkers) -> None:
    await workers.claim(ANN)
    await PartitionStore().set_draining("ann", is_draining=True)

    await workers.report(ANN, WorkerReport(cpu=0.5, memory_bytes=57_000_000))

    (worker,) = (await PartitionStore().read_cluster()).workers
    assert (worker.cpu, worker.memory_bytes, worker.is_draining) == (0.5, 57_000_000, True)


async def test_a_worker_that_left_is_not_listed(workers: TortoiseWorkers) -> None:
    await workers.claim(ANN)
    await workers.leave(replace(ANN, boot=uuid4()))
    assert len((await PartitionStore().read_cluster()).workers) == 1

    await workers.leave(ANN)

    assert (await PartitionStore().read_cluster()).workers == ()


async def test_a_report_is_stored_for_partitions_that_the_worker_has(workers: TortoiseWorkers) -> None:
    await workers.claim(ANN)
    await workers.take(ANN, [1, 2], 0.2)
    report = PartitionReport(
        number=1, records_behind=7, seconds_behind=0.5, received_per_second=3.5, idle_seconds=2.0, worst_seconds=0.25
    )

    await workers.report(ANN, WorkerReport(cpu=0.0, memory_bytes=0, partitions=[report, replace(report, number=3)]))

    found, cluster = await partition(1), await PartitionStore().read_cluster()
    assert (found.owner, found.records_behind, found.seconds_behind, found.worst_seconds) == ("ann", 7, 0.5, 0.25)
    assert found.last_record_at is not None
    assert timedelta(seconds=1.5) < cluster.seen_at - found.last_record_at < timedelta(seconds=30)
    assert (await partition(3)).records_behind == 0


@pytest.mark.parametrize("cause", list(MoveCause), ids=lambda cause: cause.value)
async def test_the_history_has_the_cause_of_a_move(workers: TortoiseWorkers, cause: MoveCause) -> None:
    await workers.claim(ANN)
    await workers.claim(BOB)
    await workers.take(ANN, [0, 1], 0.0)
    if cause is MoveCause.OPERATOR:
        await PartitionStore().set_wishes({1: ("bob", False)})
    elif cause is MoveCause.LEAVE:
        await workers.leave(ANN)
    elif cause is MoveCause.CRASH:
        await silence(ANN)

    await workers.take(BOB, [1], 0.4)

    (move,) = [each for each in await PartitionStore().read_history(10) if each.source]
    assert (move.partition, move.source, move.destination, move.cause) == (1, "ann", "bob", cause)
    assert move.seconds > 5 if cause is MoveCause.CRASH else move.seconds == 0.4


async def test_the_worst_age_of_a_move_only_rises(workers: TortoiseWorkers) -> None:
    await workers.claim(ANN)
    await workers.take(ANN, [0], 0.0)
    await PartitionStore().set_wishes({0: ("bob", False)})
    await workers.claim(BOB)
    (move,) = await workers.take(BOB, [0], 0.1)

    for worst in (0.2, 0.7, 0.3):
        await workers.record_worst(BOB, move.at, {0: worst})

    assert (await PartitionStore().read_history(1))[0].worst_seconds == 0.7


async def test_a_target_ends_when_it_is_reached_and_a_pin_stays(workers: TortoiseWorkers) -> None:
    await workers.claim(BOB)
    await PartitionStore().set_wishes({0: ("bob", False), 1: ("bob", True), 2: ("ann", False)})

    await workers.take(BOB, [0, 1, 2], 0.0)

    wishes = [(each.target, each.is_pinned) for each in (await PartitionStore().read_cluster()).partitions]
    assert wishes == [(None, False), ("bob", True), ("ann", False), (None, False)]


async def test_the_number_of_partitions_only_rises_and_counts_generations(workers: TortoiseWorkers) -> None:
    store = PartitionStore()

    assert not await store.create_map(9, "other")
    assert [await store.grow(number) for number in (4, 3, 8)] == [None, None, 2]

    found = await store.read_map()
    assert found is not None
    assert (found.generation, found.partitions, found.topic) == (2, 8, "vyry-mailbags")
    assert [each.number for each in (await store.read_cluster()).partitions] == list(range(8))


async def test_a_plan_is_stored_and_advances_from_the_expected_status(workers: TortoiseWorkers) -> None:
    plans = PlanStore()
    plan = StoredPlan(
        state_id="a1b2", kind="move", created_at=NOON, operator="eve", reason="", status="planned", moves=[[1, "ann", "bob"]],
        basis={"generation": 1}, progress=[],
    )  # fmt: skip
    await plans.save(plan)

    assert await plans.load("a1b2") == plan
    assert await plans.advance("a1b2", expected="planned", status="applying", progress=[1])
    assert not await plans.advance("a1b2", expected="planned", status="aborted", progress=[])
    assert [each.progress for each in await plans.load_newest(5, "applying")] == [[1]]


async def test_a_partition_that_nobody_took_has_no_owner_after_a_while(workers: TortoiseWorkers) -> None:
    await workers.claim(ANN)
    await workers.take(ANN, [0, 1], 0.0)
    await workers.report(ANN, WorkerReport(cpu=0, memory_bytes=0, partitions=[PartitionReport(number=0)]))
    assert (await partition(1)).owner == "ann"
    await connection().execute_query("UPDATE partitions SET reported_at = '2000-01-01 00:00:00+00:00'")

    await workers.report(ANN, WorkerReport(cpu=0, memory_bytes=0, partitions=[PartitionReport(number=0)]))

    assert [(await partition(number)).owner for number in (0, 1)] == ["ann", None]
