"""The commands of `vyry partitions` that plan moves, apply and abort plans, and pin partitions."""

import json
import sys
from collections.abc import Callable

from cyclopts import App

from vyry.cli.command_line import Flag, FreeText, JsonFlag
from vyry.cli.errors import UsageError
from vyry.cli.operator import CURRENT_OPERATOR, Operator
from vyry.cli.partition_cluster import require_cluster, require_topic, run_in_cluster
from vyry.cli.partitions_reading import require_partitions
from vyry.cli.partitions_table import name_or_none, plan_lines
from vyry.kafka.topic import TopicState
from vyry.mail.partitions import Cluster
from vyry.operator.partitions import changes
from vyry.operator.partitions.applying import Progress, Report, apply_plan, follow_abort, seconds_per_move
from vyry.operator.partitions.model import Move, Plan, PlanKind
from vyry.operator.partitions.planning import SKEW_BOUND, plan_drain, plan_grow, plan_move, plan_rebalance
from vyry.operator.partitions.plans import make_plan
from vyry.operator.partitions.report import describe_move, describe_plan
from vyry.settings.settings import Role, load_settings


plan = App(name="plan")


@plan.command(name="move")
def plan_one_move(partition: int, *, to: FreeText, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """Plan to move one partition to another worker. It stays there until a worker joins or leaves; `vyry partitions pin` keeps it there.

    Args:
        partition: The number of the partition.
        to: The name of the worker.
        by: The operator and the reason.
        as_json: Print one JSON object.
    """
    return _plan(PlanKind.MOVE, lambda cluster, _: plan_move(cluster, partition, to), by, as_json=as_json)


@plan.command(name="drain")
def plan_one_drain(worker: FreeText, *, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """Plan to move all partitions of a worker to the others. The worker gets no partition until it is restarted.

    Args:
        worker: The name of the worker.
        by: The operator and the reason.
        as_json: Print one JSON object.
    """
    return _plan(PlanKind.DRAIN, lambda cluster, _: plan_drain(cluster, worker), by, worker=worker, as_json=as_json)


@plan.command(name="rebalance")
def plan_one_rebalance(*, skew: float = SKEW_BOUND, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """Plan the fewest moves after which the busiest worker has at most --skew times the mean load. Pinned partitions stay.

    Args:
        skew: The highest load divided by the mean, at least 1.
        by: The operator and the reason.
        as_json: Print one JSON object.
    """
    if not skew >= 1:
        raise UsageError(
            "--skew must be at least 1: no worker can have less than the mean load while another has more."
        )
    return _plan(PlanKind.REBALANCE, lambda cluster, _: plan_rebalance(cluster, skew), by, as_json=as_json)


@plan.command(name="grow")
def plan_one_growth(partitions: int, *, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """Plan more partitions for the work topic. The number can never be lowered again.

    Args:
        partitions: The number of partitions afterwards. A multiple of the present number moves the fewest mailboxes.
        by: The operator and the reason.
        as_json: Print one JSON object.
    """
    return _plan(
        PlanKind.GROW,
        lambda cluster, topic: plan_grow(cluster, partitions, topic.partitions),
        by,
        partitions=partitions,
        as_json=as_json,
    )


def apply(state_id: str, *, at_once: Flag = False, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """Apply a plan, one move at a time, and show the phases of each move: announced, released, taken, settled.

    Refused with exit code 3 if workers, pins or partitions are not what the plan saw. After Ctrl-C or a failure, apply the same
    plan again to continue it, or run `vyry partitions abort`.

    Args:
        state_id: The id that `vyry partitions plan` printed.
        at_once: Start all moves at the same time.
        by: The operator and the reason.
        as_json: Print one JSON object per phase.
    """
    settings = load_settings(Role.TOOL)
    kafka = require_cluster(settings)

    async def work() -> Plan:
        await require_topic(kafka, (await changes.load_plan(state_id)).kind)
        started = await changes.start_plan(state_id, by.audit_entry("partitionsApply"))
        return await apply_plan(started, _reporter(as_json=as_json), at_once=at_once, kafka=kafka)

    try:
        done = run_in_cluster(settings, work)
    except KeyboardInterrupt:
        print(
            f"vyry: The plan is not finished. `vyry partitions apply {state_id}` continues it, `vyry partitions abort` ends it.",
            file=sys.stderr,
        )
        raise
    _print_status(done, as_json=as_json)
    return 0


def abort(*, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """End the plan that is being applied, and move its partitions back to where they were.

    Args:
        by: The operator and the reason.
        as_json: Print one JSON object per phase.
    """
    settings = load_settings(Role.TOOL)
    require_cluster(settings)

    async def work() -> Plan:
        aborted = await changes.abort_plan(by.audit_entry("partitionsAbort"))
        await follow_abort(aborted, _reporter(as_json=as_json))
        return aborted

    _print_status(run_in_cluster(settings, work), as_json=as_json)
    return 0


def pin(partition: int, *, to: FreeText = "", by: Operator = CURRENT_OPERATOR) -> int:
    """Keep a partition on a worker: no plan moves it, and it returns there whenever this worker is back.

    Args:
        partition: The number of the partition.
        to: The name of the worker (default: the one that has it).
        by: The operator and the reason.
    """
    settings = load_settings(Role.TOOL)
    require_cluster(settings)
    name = run_in_cluster(settings, lambda: changes.pin(partition, to or None, by.audit_entry("partitionsPin")))
    print(f"partition {partition}: pinned to {name_or_none(name)}")
    return 0


def unpin(partition: int, *, by: Operator = CURRENT_OPERATOR) -> int:
    """Let a pinned partition move again. It stays where it is.

    Args:
        partition: The number of the partition.
        by: The operator and the reason.
    """
    settings = load_settings(Role.TOOL)
    require_cluster(settings)
    run_in_cluster(settings, lambda: changes.unpin(partition, by.audit_entry("partitionsUnpin")))
    print(f"partition {partition}: not pinned")
    return 0


def _plan(
    kind: PlanKind,
    make_moves: Callable[[Cluster, TopicState], tuple[Move, ...]],
    by: Operator,
    *,
    worker: str | None = None,
    partitions: int | None = None,
    as_json: bool,
) -> int:
    """Make a plan for the cluster as it is now, store it and print it."""
    settings = load_settings(Role.TOOL)
    kafka = require_cluster(settings)

    async def work() -> tuple[Plan, Cluster, float]:
        cluster = require_partitions(await changes.read_cluster())
        topic = await require_topic(kafka, kind)
        act = by.audit_entry("partitionsPlan")
        moves = make_moves(cluster, topic)
        made = make_plan(
            cluster, kind, moves, worker=worker, partitions=partitions, operator=act.operator, reason=act.reason
        )
        if not made.is_needless:
            await changes.save_plan(made)
        return made, cluster, await seconds_per_move() * max(1, len(moves))

    made, cluster, seconds = run_in_cluster(settings, work)
    if as_json:
        print(json.dumps(describe_plan(made, cluster, seconds), indent=2))
    elif made.is_needless:
        print(f"The skew is {cluster.skew:.2f}, and no move is needed or makes it smaller.")
    else:
        print(*plan_lines(made, cluster, seconds), sep="\n")
    return 0


def _reporter(*, as_json: bool) -> Report:
    """Prints each phase of each move."""

    def report(progress: Progress) -> None:
        counts = {"settled": progress.settled, "moves": progress.moves, "secondsLeft": round(progress.seconds_left, 1)}
        if as_json:
            line = json.dumps({**describe_move(progress.move), "phase": progress.phase.value, **counts})
        else:
            left = f"about {progress.seconds_left:.0f} s left" if progress.seconds_left else "done"
            line = (
                f"partition {progress.move.partition}: {progress.phase.value:<9}  {name_or_none(progress.move.source)} -> "
                f"{name_or_none(progress.move.destination)}  ({progress.settled} of {progress.moves} settled, {left})"
            )
        print(line, flush=True)

    return report


def _print_status(plan: Plan, *, as_json: bool) -> None:
    line = {"stateId": plan.state_id, "status": plan.status.value}
    print(json.dumps(line) if as_json else f"Plan {plan.state_id}: {plan.status.value}.")
