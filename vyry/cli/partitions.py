"""`vyry partitions`: shows the partitions of the work topic and the workers that have them, and moves partitions by plans."""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

from cyclopts import App

from vyry.cli.command_line import Flag, FreeText, JsonFlag
from vyry.cli.errors import UsageError
from vyry.cli.operator import CURRENT_OPERATOR, Operator
from vyry.cli.partitions_session import (
    require_cluster,
    require_partitions,
    require_topic,
    run_partition_work,
    watch_cluster,
)
from vyry.cli.partitions_table import align, cluster_lines, name_or_none, plan_lines
from vyry.mail.partitions import Cluster
from vyry.mail.workers import PastMove
from vyry.operator.partitions import changes
from vyry.operator.partitions.applying import Progress, Report, apply_plan, follow_abort, seconds_per_move
from vyry.operator.partitions.model import Move, Plan, PlanKind
from vyry.operator.partitions.planning import SKEW_BOUND, plan_drain, plan_grow, plan_move, plan_rebalance
from vyry.operator.partitions.plans import make_plan
from vyry.operator.partitions.report import bad_partitions, describe_cluster, describe_move, describe_plan
from vyry.settings.settings import Role, load_settings
from vyry.storage.partitions import PartitionStore


_HISTORY_COLUMNS: Final = ("at", "partition", "from", "to", "cause", "seconds without worker", "worst s")

app = App(name="partitions")
plan = App(
    name="plan", help="Make a plan: print what would move, the load before and after, and a state id. Changes nothing."
)
app.command(plan)


@app.default
def show(*, watch: Flag = False, as_json: JsonFlag = False) -> int:
    """Show the partitions of the work topic and the workers that have them. Exit code 1 if a partition is in a bad state.

    A state is ok, late (mail waits for its sequence number for over 1 s), stalled (records wait, none was read for 5 s) or orphaned
    (no live worker). in/s and out/s are means of the last minute. To change something, make a plan with `vyry partitions plan`.

    Args:
        watch: Show it again every second until Ctrl-C.
        as_json: Print one JSON object; with --watch one per line.
    """
    settings = load_settings(Role.TOOL)
    if watch:
        return watch_cluster(settings, as_json=as_json)
    cluster = require_partitions(run_partition_work(settings, changes.read_cluster))
    if as_json:
        print(json.dumps(describe_cluster(cluster), indent=2))
    else:
        print(*(line.plain for line in cluster_lines(cluster)), sep="\n")
    return 1 if bad_partitions(cluster) else 0


@plan.command(name="move")
def plan_one_move(partition: int, *, to: FreeText, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """Plan to move one partition to another worker. It stays there until a worker joins or leaves; `vyry partitions pin` keeps it there.

    Args:
        partition: The number of the partition.
        to: The name of the worker.
        by: The operator and the reason.
        as_json: Print one JSON object.
    """
    return _plan(PlanKind.MOVE, lambda cluster: plan_move(cluster, partition, to), by, as_json=as_json)


@plan.command(name="drain")
def plan_one_drain(worker: FreeText, *, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """Plan to move all partitions of a worker to the others. The worker gets no partition until it is restarted.

    Args:
        worker: The name of the worker.
        by: The operator and the reason.
        as_json: Print one JSON object.
    """
    return _plan(PlanKind.DRAIN, lambda cluster: plan_drain(cluster, worker), by, worker=worker, as_json=as_json)


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
    return _plan(PlanKind.REBALANCE, lambda cluster: plan_rebalance(cluster, skew), by, as_json=as_json)


@plan.command(name="grow")
def plan_one_growth(partitions: int, *, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False) -> int:
    """Plan more partitions for the work topic. The number can never be lowered again.

    Args:
        partitions: The number of partitions afterwards. A multiple of the present number moves the fewest mailboxes.
        by: The operator and the reason.
        as_json: Print one JSON object.
    """
    return _plan(
        PlanKind.GROW, lambda cluster: plan_grow(cluster, partitions), by, partitions=partitions, as_json=as_json
    )


@app.command(name="apply")
def apply_one_plan(
    state_id: str, *, at_once: Flag = False, by: Operator = CURRENT_OPERATOR, as_json: JsonFlag = False
) -> int:
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
        await require_topic(kafka, await changes.read_cluster())
        started = await changes.start_plan(state_id, by.audit_entry("partitionsApply"))
        return await apply_plan(started, _reporter(as_json=as_json), at_once=at_once, kafka=kafka)

    try:
        done = run_partition_work(settings, work)
    except KeyboardInterrupt:
        print(
            f"vyry: The plan is not finished. `vyry partitions apply {state_id}` continues it, `vyry partitions abort` ends it.",
            file=sys.stderr,
        )
        raise
    _print_status(done, as_json=as_json)
    return 0


@app.command
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

    _print_status(run_partition_work(settings, work), as_json=as_json)
    return 0


@app.command
def history(*, limit: int = 50, as_json: JsonFlag = False) -> int:
    """Show the last moves, newest first: when, why (operator, join, leave, crash), how long, and the worst lateness of mail meanwhile.

    Args:
        limit: Show at most so many.
        as_json: Print one JSON object per line.
    """
    if limit < 1:
        raise UsageError("--limit must be at least 1.")
    moves = run_partition_work(load_settings(Role.TOOL), lambda: PartitionStore().read_history(limit))
    if as_json:
        print(*(json.dumps(_past_json(move)) for move in moves), sep="\n", end="\n" if moves else "")
        return 0
    print(*align(_HISTORY_COLUMNS, [_past_row(move) for move in moves]), sep="\n")
    return 0


@app.command
def pin(partition: int, *, to: FreeText = "", by: Operator = CURRENT_OPERATOR) -> int:
    """Keep a partition on a worker: no plan moves it, and it returns there whenever this worker is back.

    Args:
        partition: The number of the partition.
        to: The name of the worker (default: the one that has it).
        by: The operator and the reason.
    """
    settings = load_settings(Role.TOOL)
    require_cluster(settings)
    name = run_partition_work(settings, lambda: changes.pin(partition, to or None, by.audit_entry("partitionsPin")))
    print(f"partition {partition}: pinned to {name_or_none(name)}")
    return 0


@app.command
def unpin(partition: int, *, by: Operator = CURRENT_OPERATOR) -> int:
    """Let a pinned partition move again. It stays where it is.

    Args:
        partition: The number of the partition.
        by: The operator and the reason.
    """
    settings = load_settings(Role.TOOL)
    require_cluster(settings)
    run_partition_work(settings, lambda: changes.unpin(partition, by.audit_entry("partitionsUnpin")))
    print(f"partition {partition}: not pinned")
    return 0


def _plan(
    kind: PlanKind,
    make_moves: Callable[[Cluster], tuple[Move, ...]],
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
        await require_topic(kafka, cluster)
        act = by.audit_entry("partitionsPlan")
        moves = make_moves(cluster)
        made = make_plan(
            cluster, kind, moves, worker=worker, partitions=partitions, operator=act.operator, reason=act.reason
        )
        if moves or kind is not PlanKind.REBALANCE:
            await changes.save_plan(made)
        return made, cluster, await seconds_per_move() * max(1, len(moves))

    made, cluster, seconds = run_partition_work(settings, work)
    if as_json:
        print(json.dumps(describe_plan(made, cluster, seconds), indent=2))
    elif made.kind is PlanKind.REBALANCE and not made.moves:
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


def _past_row(move: PastMove) -> tuple[str, ...]:
    return (
        f"{move.at:%Y-%m-%d %H:%M:%S}Z",
        str(move.partition),
        name_or_none(move.source),
        name_or_none(move.destination),
        move.cause.value,
        f"{move.seconds:.2f}",
        f"{move.worst_seconds:.2f}",
    )


def _past_json(move: PastMove) -> dict[str, Any]:
    return {
        "at": move.at.isoformat(),
        "partition": move.partition,
        "from": move.source,
        "to": move.destination,
        "cause": move.cause.value,
        "seconds": round(move.seconds, 3),
        "worstSeconds": round(move.worst_seconds, 3),
    }
