"""What operators change in the database about partitions: plans, wishes, pins, drains. Each function is one transaction, with its line of the audit log.

All of them lock the partition map, so that two operators cannot change the cluster at the same time.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.events import OperatorAction
from vyry.mail.partitions import Cluster
from vyry.operator.audit import record_action
from vyry.operator.partitions.model import Move, NotInCluster, Plan, PlanKind, PlanRefused, PlanStatus
from vyry.operator.partitions.planning import find_partition, find_receiver
from vyry.operator.partitions.plans import (
    pack_plan,
    pack_progress,
    require_possible,
    require_unchanged,
    unpack_plan,
)
from vyry.storage.database import transaction
from vyry.storage.partitions import PartitionStore, PlanStore
from vyry.storage.raw_sql import fetch


#: As the history of moves.
_KEEP_PLANS: Final = timedelta(days=90)
_LOCK_MAP: Final = "SELECT generation FROM partition_map FOR UPDATE"
_partitions: Final = PartitionStore()
_plans: Final = PlanStore()


async def read_cluster() -> Cluster:
    """The workers and partitions as they are now. Raises Unavailable."""
    return await _partitions.read_cluster()


async def save_plan(plan: Plan) -> None:
    """Store a new plan. Raises PlanRefused when the plan with this id is being applied, Unavailable."""
    async with _changing():
        stored = await _plans.load(plan.state_id)
        if stored is not None and PlanStatus(stored.status) is PlanStatus.APPLYING:
            raise PlanRefused(
                f"Plan {plan.state_id} is being applied: `vyry partitions apply {plan.state_id}` continues it."
            )
        await _plans.delete_older(plan.created_at - _KEEP_PLANS)
        await _plans.save(pack_plan(plan))


async def load_plan(state_id: str) -> Plan:
    """The plan with this id. Raises NotInCluster, Unavailable."""
    stored = await _plans.load(state_id)
    if stored is None:
        raise NotInCluster(f"There is no plan {state_id!r}: `vyry partitions plan` makes one and prints its id.")
    return unpack_plan(stored)


async def load_active_plan() -> Plan | None:
    """The plan that was started and is not finished. Raises Unavailable."""
    found = await _plans.load_newest(1, PlanStatus.APPLYING.value)
    return unpack_plan(found[0]) if found else None


async def start_plan(state_id: str, act: OperatorAction) -> Plan:
    """Mark a plan as being applied, or continue one that is. Raises NotInCluster, PlanRefused, Unavailable."""
    async with _changing() as inside:
        plan, active = await load_plan(state_id), await load_active_plan()
        if plan.status in {PlanStatus.APPLIED, PlanStatus.ABORTED}:
            raise PlanRefused(f"Plan {state_id} is {plan.status.value} already: make a new plan.")
        if active is not None and active.state_id != state_id:
            raise PlanRefused(
                f"Plan {active.state_id} is being applied: continue it with `vyry partitions apply {active.state_id}`, or end it with `vyry partitions abort`."
            )
        check = require_possible if plan.status is PlanStatus.APPLYING else require_unchanged
        check(plan, await read_cluster())
        await record_action(inside, _with_details(act, describe(plan)))
        return await _advance(plan, PlanStatus.APPLYING)


async def announce(moves: Iterable[Move]) -> None:
    """Write the destinations as the wishes of the operator; workers follow them. Raises Unavailable."""
    async with _changing():
        await _partitions.set_wishes({move.partition: (move.destination, False) for move in moves})


async def record_settled(plan: Plan, numbers: Iterable[int]) -> Plan:
    """Store that these moves have settled. Raises PlanRefused when the plan was aborted meanwhile, Unavailable."""
    return await _advance(replace(plan, settled=(*plan.settled, *numbers)), PlanStatus.APPLYING)


async def begin_drain(plan: Plan) -> None:
    """Have the worker of the plan give up what it still has, and get nothing more. Raises Unavailable."""
    if plan.worker is not None:
        async with _changing():
            await _partitions.set_draining(plan.worker, is_draining=True)


async def finish_plan(plan: Plan) -> Plan:
    """Mark a plan as applied. Raises PlanRefused when it was aborted meanwhile, Unavailable."""
    return await _advance(plan, PlanStatus.APPLIED)


async def raise_generation(partitions: int) -> None:
    """Have mailboxes spread over so many partitions. Raises Unavailable."""
    async with _changing():
        await _partitions.grow(partitions)


async def abort_plan(act: OperatorAction) -> Plan:
    """End the plan that is being applied, and wish the partitions back to where they were, with their pins. Raises PlanRefused, Unavailable."""
    async with _changing() as inside:
        plan = await load_active_plan()
        if plan is None:
            raise PlanRefused("No plan is being applied: there is nothing to abort.")
        cluster = await read_cluster()
        if plan.kind is PlanKind.GROW and cluster.generation != plan.basis.generation:
            raise PlanRefused(
                f"There are {len(cluster.partitions)} partitions already, and Kafka cannot remove any: `vyry partitions apply {plan.state_id}` finishes the plan."
            )
        await _partitions.set_wishes(wishes_before(plan, cluster))
        if plan.worker is not None:
            await _partitions.set_draining(plan.worker, is_draining=plan.basis.workers[plan.worker])
        await record_action(inside, _with_details(act, describe(plan)))
        return await _advance(plan, PlanStatus.ABORTED)


def describe(plan: Plan) -> str:
    """The plan in a few words, for the audit log."""
    match plan.kind:
        case PlanKind.MOVE:
            return f"{plan.state_id}: move partition {plan.moves[0].partition} to {plan.moves[0].destination}"
        case PlanKind.DRAIN:
            return f"{plan.state_id}: drain {plan.worker}, {len(plan.moves)} moves"
        case PlanKind.REBALANCE:
            return f"{plan.state_id}: rebalance, {len(plan.moves)} moves"
        case PlanKind.GROW:
            return f"{plan.state_id}: grow from {len(plan.basis.owners)} to {plan.partitions} partitions"


def wishes_before(plan: Plan, cluster: Cluster) -> dict[int, tuple[str | None, bool]]:
    """The wishes that lead back: the pin of before, or the worker of before while it lives."""
    live = {worker.name for worker in cluster.live_workers}
    found: dict[int, tuple[str | None, bool]] = {}
    for move in plan.moves:
        before = plan.basis.wishes[move.partition]
        back = move.source if move.source in live else None
        found[move.partition] = (before.target, before.is_pinned) if before.target else (back, False)
    return found


async def pin(number: int, worker: str | None, act: OperatorAction) -> str:
    """Keep a partition on a worker, on the one that has it if None is given; returns its name. Raises NotInCluster, PlanRefused, Unavailable."""
    async with _changing() as inside:
        cluster = await read_cluster()
        partition = find_partition(cluster, number)
        name = worker or partition.owner
        if name is None:
            raise PlanRefused(f"No worker has partition {number}: name one with --to WORKER.")
        find_receiver(cluster, name)
        await _refuse_planned(number)
        await _partitions.set_wishes({number: (name, True)})
        await record_action(inside, _with_details(act, f"partition {number} to {name}"))
        return name


async def unpin(number: int, act: OperatorAction) -> None:
    """Let a partition move again; it stays where it is. Raises NotInCluster, PlanRefused, Unavailable."""
    async with _changing() as inside:
        if not find_partition(await read_cluster(), number).is_pinned:
            raise PlanRefused(f"Partition {number} is not pinned.")
        await _refuse_planned(number)
        await _partitions.set_wishes({number: (None, False)})
        await record_action(inside, _with_details(act, f"partition {number}"))


@asynccontextmanager
async def _changing() -> AsyncIterator[BaseDBAsyncClient]:
    async with transaction() as inside:
        await fetch(inside, _LOCK_MAP)
        yield inside


def _with_details(act: OperatorAction, details: str) -> OperatorAction:
    return replace(act, reason=": ".join(filter(None, (details, act.reason))))


async def _refuse_planned(number: int) -> None:
    active = await load_active_plan()
    if active is not None and number in {move.partition for move in active.waiting}:
        raise PlanRefused(
            f"Plan {active.state_id} is moving partition {number}: wait for it, or run `vyry partitions abort`."
        )


async def _advance(plan: Plan, status: PlanStatus) -> Plan:
    expected = PlanStatus.PLANNED if plan.status is PlanStatus.PLANNED else PlanStatus.APPLYING
    if not await _plans.advance(
        plan.state_id, status=status.value, expected=expected.value, progress=pack_progress(plan)
    ):
        raise PlanRefused(f"Plan {plan.state_id} was aborted meanwhile.")
    return replace(plan, status=status)
