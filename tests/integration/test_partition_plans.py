"""Plans are applied on PostgreSQL while workers follow them: in order, resumable, and back again after an abort."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from tests.support.following_workers import FollowingWorkers, open_following_workers
from vyry.accounts.events import OperatorAction
from vyry.kafka.topic import ensure_topic, read_topic
from vyry.mail.partitions import Cluster
from vyry.operator.audit import read_acts
from vyry.operator.partitions import applying, changes
from vyry.operator.partitions.applying import Phase, Progress, apply_plan, follow_abort
from vyry.operator.partitions.model import Move, Plan, PlanKind, PlanRefused, PlanStatus, PlanStuck
from vyry.operator.partitions.planning import plan_drain, plan_grow, plan_move, plan_rebalance
from vyry.operator.partitions.plans import make_plan
from vyry.storage.database import open_database
from vyry.storage.partitions import PartitionStore


ACT = OperatorAction(datetime(2026, 11, 30, tzinfo=UTC), "olga", "partitionsApply", "test")
Moves = Callable[[Cluster], tuple[Move, ...]]


@pytest.fixture
async def workers(postgres_url: str) -> AsyncIterator[FollowingWorkers]:
    """Three workers with two of six partitions each."""
    async with open_database(postgres_url):
        await PartitionStore().create_map(6, "vyry-mailbags")
        async with open_following_workers(["w0", "w1", "w2"]) as found:
            yield found


async def planned(kind: PlanKind, moves: Moves, worker: str | None = None, partitions: int | None = None) -> Plan:
    cluster = await changes.read_cluster()
    made = make_plan(cluster, kind, moves(cluster), worker=worker, partitions=partitions)
    await changes.save_plan(made)
    return made


async def applied(plan: Plan, *, at_once: bool = False, kafka: str = "") -> list[Progress]:
    found: list[Progress] = []
    started = await changes.start_plan(plan.state_id, ACT)
    async with asyncio.timeout(30):
        done = await apply_plan(started, found.append, at_once=at_once, kafka=kafka)
    assert done.status is PlanStatus.APPLIED
    return found


async def owners() -> list[str | None]:
    return [each.owner for each in (await changes.read_cluster()).partitions]


async def test_a_moved_partition_passes_its_phases_and_keeps_no_wish(workers: FollowingWorkers) -> None:
    plan = await planned(PlanKind.MOVE, lambda cluster: plan_move(cluster, 0, "w2"))

    seen = await applied(plan)

    assert [each.phase for each in seen] == list(Phase)
    assert await owners() == ["w2", "w1", "w2", "w0", "w1", "w2"]
    assert (await changes.read_cluster()).partitions[0].target is None
    assert [act.reason async for act in read_acts(None)] == [f"{plan.state_id}: move partition 0 to w2: test"]


async def test_a_drain_moves_one_partition_after_the_other_and_leaves_none(workers: FollowingWorkers) -> None:
    plan = await planned(PlanKind.DRAIN, lambda cluster: plan_drain(cluster, "w0"), worker="w0")

    seen = await applied(plan)

    assert "w0" not in await owners()
    assert [each.is_draining for each in (await changes.read_cluster()).workers] == [True, False, False]
    order = [each.move.partition for each in seen]
    assert order == sorted(order, key=[move.partition for move in plan.moves].index)


async def test_a_drain_at_once_leaves_none(workers: FollowingWorkers) -> None:
    plan = await planned(PlanKind.DRAIN, lambda cluster: plan_drain(cluster, "w0"), worker="w0")

    await applied(plan, at_once=True)

    assert "w0" not in await owners()


async def test_a_drained_worker_gets_nothing_by_a_rebalance(workers: FollowingWorkers) -> None:
    await applied(await planned(PlanKind.DRAIN, lambda cluster: plan_drain(cluster, "w0"), worker="w0"))

    assert "w0" not in {move.destination for move in plan_rebalance(await changes.read_cluster(), 1.0)}


async def test_a_pinned_partition_is_drained_and_is_pinned_again_after_an_abort(workers: FollowingWorkers) -> None:
    await changes.pin(3, None, ACT)
    plan = await planned(PlanKind.DRAIN, lambda cluster: plan_drain(cluster, "w0"), worker="w0")
    started = await changes.start_plan(plan.state_id, ACT)
    await changes.announce(started.moves)

    aborted = await changes.abort_plan(ACT)
    await follow_abort(aborted, lambda _: None)

    after = await changes.read_cluster()
    assert await owners() == ["w0", "w1", "w2", "w0", "w1", "w2"]
    assert (after.partitions[3].target, after.partitions[3].is_pinned) == ("w0", True)
    assert not after.workers[0].is_draining


async def test_an_interrupted_plan_continues_where_it_was(workers: FollowingWorkers) -> None:
    plan = await planned(PlanKind.DRAIN, lambda cluster: plan_drain(cluster, "w0"), worker="w0")
    first, second = (move.partition for move in plan.moves)
    workers.holds.add(second)
    settled = asyncio.Event()

    def report(progress: Progress) -> None:
        if progress.phase is Phase.SETTLED:
            settled.set()

    started = await changes.start_plan(plan.state_id, ACT)
    async with asyncio.TaskGroup() as tasks:
        interrupted = tasks.create_task(apply_plan(started, report, at_once=False, kafka=""))
        async with asyncio.timeout(30):
            await settled.wait()
        interrupted.cancel()
    workers.holds.clear()

    assert (await changes.load_plan(plan.state_id)).settled == (first,)
    assert {each.move.partition for each in await applied(plan)} == {second}
    assert "w0" not in await owners()


async def test_an_abort_moves_back_what_has_moved(workers: FollowingWorkers) -> None:
    before = await owners()
    plan = await planned(PlanKind.DRAIN, lambda cluster: plan_drain(cluster, "w0"), worker="w0")
    workers.holds.add(plan.moves[1].partition)
    started = await changes.start_plan(plan.state_id, ACT)
    await changes.announce(started.moves)
    async with asyncio.timeout(30):
        while await owners() == before:
            await workers.turn()

    await follow_abort(await changes.abort_plan(ACT), lambda _: None)

    assert await owners() == before
    with pytest.raises(PlanRefused, match="nothing to abort"):
        await changes.abort_plan(ACT)
    with pytest.raises(PlanRefused, match="aborted already"):
        await changes.start_plan(plan.state_id, ACT)


async def test_a_plan_whose_destination_is_lost_ends_with_a_refusal(workers: FollowingWorkers) -> None:
    plan = await planned(PlanKind.MOVE, lambda cluster: plan_move(cluster, 0, "w2"))
    started = await changes.start_plan(plan.state_id, ACT)
    workers.holds.add(0)
    workers.silent.add("w2")

    with pytest.raises(PlanRefused, match="Worker w2 is lost or draining"):
        await apply_plan(started, lambda _: None, at_once=False, kafka="")

    assert (await changes.load_plan(plan.state_id)).status is PlanStatus.APPLYING


async def test_a_move_that_does_not_end_is_reported(workers: FollowingWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "PHASE_SECONDS", 1.0)
    plan = await planned(PlanKind.MOVE, lambda cluster: plan_move(cluster, 0, "w2"))
    started = await changes.start_plan(plan.state_id, ACT)
    workers.holds.add(0)

    with pytest.raises(PlanStuck, match=f"apply {plan.state_id}"):
        await apply_plan(started, lambda _: None, at_once=False, kafka="")


async def test_only_one_plan_is_applied_at_a_time(workers: FollowingWorkers) -> None:
    plan = await planned(PlanKind.MOVE, lambda cluster: plan_move(cluster, 0, "w2"))
    other = await planned(PlanKind.MOVE, lambda cluster: plan_move(cluster, 1, "w2"))
    await changes.start_plan(plan.state_id, ACT)

    with pytest.raises(PlanRefused, match=f"Plan {plan.state_id} is being applied"):
        await changes.start_plan(other.state_id, ACT)
    with pytest.raises(PlanRefused, match="is moving partition 0"):
        await changes.pin(0, None, ACT)


async def test_a_plan_is_applied_once(workers: FollowingWorkers) -> None:
    plan = await planned(PlanKind.MOVE, lambda cluster: plan_move(cluster, 0, "w2"))
    await applied(plan)

    with pytest.raises(PlanRefused, match="applied already"):
        await changes.start_plan(plan.state_id, ACT)


async def test_a_plan_for_another_state_is_refused_and_changes_nothing(workers: FollowingWorkers) -> None:
    plan = await planned(PlanKind.MOVE, lambda cluster: plan_move(cluster, 0, "w2"))
    await changes.pin(1, None, ACT)

    with pytest.raises(PlanRefused, match="partition 1 is pinned to worker w1"):
        await changes.start_plan(plan.state_id, ACT)

    assert (await changes.load_plan(plan.state_id)).status is PlanStatus.PLANNED
    assert (await changes.read_cluster()).partitions[0].target is None


async def test_a_grown_topic_has_workers_for_all_partitions(
    workers: FollowingWorkers, kafka_url: str, topic_prefix: str
) -> None:
    url = f"{kafka_url}/{topic_prefix}"
    await ensure_topic(url, 6)
    plan = await planned(PlanKind.GROW, lambda cluster: plan_grow(cluster, 9, 6), partitions=9)

    await applied(plan, kafka=url)

    topic = await read_topic(url)
    assert topic is not None
    assert topic.partitions == 9
    found = await changes.read_cluster()
    assert (found.generation, len(found.partitions)) == (2, 9)
    assert None not in await owners()


async def test_a_grown_topic_cannot_be_aborted(workers: FollowingWorkers) -> None:
    plan = await planned(PlanKind.GROW, lambda cluster: plan_grow(cluster, 9, 6), partitions=9)
    await changes.start_plan(plan.state_id, ACT)
    await changes.raise_generation(9)

    with pytest.raises(PlanRefused, match="cannot remove any"):
        await changes.abort_plan(ACT)
