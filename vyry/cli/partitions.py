"""`vyry partitions`: shows the partitions of the work topic and the workers that have them. Its other commands are in partition_plans.py."""

import json
from typing import Any, Final

from cyclopts import App

from vyry.cli.command_line import Flag, JsonFlag
from vyry.cli.errors import UsageError
from vyry.cli.partitions_reading import require_partitions, run_reading, watch_cluster
from vyry.cli.partitions_table import align, cluster_lines, name_or_none
from vyry.mail.workers import PastMove
from vyry.operator.partitions.report import bad_partitions, describe_cluster
from vyry.settings.settings import Role, load_settings
from vyry.storage.partitions import PartitionStore


_HISTORY_COLUMNS: Final = ("at", "partition", "from", "to", "cause", "seconds without worker", "worst s")

app = App(name="partitions")
#: The commands that need Kafka and the audit log, which `vyry partitions` itself does not load.
for _name, _text in {
    "plan": "Make a plan: print what would move, the load before and after, and a state id. Changes nothing.",
    "apply": "Apply a plan, one move at a time, and show the phases of each move.",
    "abort": "End the plan that is being applied, and move its partitions back to where they were.",
    "pin": "Keep a partition on a worker: no plan moves it, and it returns there whenever this worker is back.",
    "unpin": "Let a pinned partition move again. It stays where it is.",
}.items():
    app.command(f"vyry.cli.partition_plans:{_name}", name=_name, help=_text)


@app.default
def show(*, watch: Flag = False, as_json: JsonFlag = False) -> int:
    """Show the partitions of the work topic and the workers that have them. Exit code 1 if a partition is in a bad state.

    A state is ok, late (mail waits for its sequence number for over 1 s), stalled (records wait, none was read for 5 s) or orphaned
    (no live worker). in/s and out/s are means of the last minute. To change something, make a plan with `vyry partitions plan`.

    Args:
        watch: Refresh the tables every second until Ctrl-C.
        as_json: Print one JSON object; with --watch one per line.
    """
    settings = load_settings(Role.TOOL)
    if watch:
        return watch_cluster(settings, as_json=as_json)
    cluster = require_partitions(run_reading(settings, PartitionStore().read_cluster))
    if as_json:
        print(json.dumps(describe_cluster(cluster), indent=2))
    else:
        print(*(line.plain for line in cluster_lines(cluster)), sep="\n")
    return 1 if bad_partitions(cluster) else 0


@app.command
def history(*, limit: int = 50, as_json: JsonFlag = False) -> int:
    """Show the last moves, newest first: when, why (operator, join, leave, crash), how long, and the worst lateness of mail meanwhile.

    Args:
        limit: Show at most so many.
        as_json: Print one JSON object per line.
    """
    if limit < 1:
        raise UsageError("--limit must be at least 1.")
    moves = run_reading(load_settings(Role.TOOL), lambda: PartitionStore().read_history(limit))
    if as_json:
        print(*(json.dumps(_past_json(move)) for move in moves), sep="\n", end="\n" if moves else "")
        return 0
    print(*align(_HISTORY_COLUMNS, [_past_row(move) for move in moves]), sep="\n")
    return 0


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
