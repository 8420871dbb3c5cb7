"""The tables of `vyry partitions`: one row a partition, one row a worker, and the summary below.

The columns are aligned here: a table of rich 15 takes longer for 1,000 rows than all the rest of the command.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from vyry.cli.client.terminal_text import sanitize_line
from vyry.mail.partitions import Cluster, Partition, PartitionState, Worker
from vyry.operator.partitions.model import Plan
from vyry.operator.partitions.planning import loads_after
from vyry.operator.partitions.report import bad_partitions, worker_state


_STYLES: Final = {
    PartitionState.OK: "",
    PartitionState.LATE: "yellow",
    PartitionState.STALLED: "bold red",
    PartitionState.ORPHANED: "bold red",
}
_PARTITION_COLUMNS: Final = (
    "partition", "owner", "host", "state", "in/s", "out/s", "mailboxes waiting", "oldest s", "lag records", "lag s", "bytes waiting", "pinned",
)  # fmt: skip
_WORKER_COLUMNS: Final = ("worker", "host", "version", "state", "partitions", "load", "CPU", "memory", "heartbeat")
_TEXT_COLUMNS: Final = ("owner", "host", "state", "pinned", "worker", "version", "from", "to")


def cluster_lines(cluster: Cluster, height: int | None = None) -> list[Text]:
    """Both tables and the summary; with `height` at most so many lines, as long as all workers fit: partitions in a bad state first."""
    workers = [Text(line) for line in align(_WORKER_COLUMNS, [_worker_row(each, cluster) for each in cluster.workers])]
    end = [Text(), *workers, Text(), Text(summary(cluster))]
    shown: Sequence[Partition] = cluster.partitions
    if height is not None and len(shown) + len(end) + 1 > height:
        ordered = sorted(shown, key=lambda each: cluster.state_of(each) is PartitionState.OK)
        shown = ordered[: max(1, height - len(end) - 2)]
        end.insert(0, Text(f"and {len(cluster.partitions) - len(shown)} more partitions"))
    hosts = {worker.name: worker.host for worker in cluster.workers}
    states = [cluster.state_of(each) for each in shown]
    rows = [_partition_row(each, state, hosts) for each, state in zip(shown, states, strict=True)]
    head, *lines = align(_PARTITION_COLUMNS, rows)
    return [
        Text(head),
        *(Text(line, style=_STYLES[state]) for line, state in zip(lines, states, strict=True)),
        *end,
    ]


def align(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The names of the columns and the rows, one line each; texts are on the left of their column, numbers on the right."""
    table = [tuple(columns), *rows]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    is_text = [name in _TEXT_COLUMNS for name in columns]
    return [
        "  ".join(
            cell + fill if left else fill + cell
            for cell, width, left in zip(row, widths, is_text, strict=True)
            for fill in (" " * (width - cell_len(cell)),)
        ).rstrip()
        for row in table
    ]


def summary(cluster: Cluster) -> str:
    """The numbers of partitions and workers, the skew, and how many partitions are in each bad state."""
    bad = Counter(cluster.state_of(each).value for each in bad_partitions(cluster))
    states = ", ".join(f"{count} {state}" for state, count in sorted(bad.items())) or "all ok"
    more = "" if cluster.is_count_complete else "; not all waiting mail was counted: at least so much waits"
    return (
        f"{len(cluster.partitions)} partitions (generation {cluster.generation}): {states}; "
        f"{len(cluster.live_workers)} live workers; skew {cluster.skew:.2f} (highest load / mean){more}"
    )


def plan_lines(plan: Plan, cluster: Cluster, seconds: float) -> list[str]:
    """A plan for the operator: each move, the load before and after, how long it takes, and how to apply it."""
    lines = [
        f"partition {move.partition}: {name_or_none(move.source)} -> {sanitize_line(move.destination)}"
        for move in plan.moves
    ]
    if plan.partitions != len(plan.basis.owners):
        lines.append(f"partitions: {len(plan.basis.owners)} -> {plan.partitions}")
    before, after = cluster.load_by_worker, loads_after(cluster, plan.moves)
    lines += [
        f"load of {sanitize_line(name)}: {before.get(name, 0.0):.1f} -> {after[name]:.1f} envelopes/s"
        for name in sorted(after)
    ]
    apply = f"vyry partitions apply {plan.state_id}"
    return [*lines, f"About {seconds:.0f} s. Nothing was changed. To apply this plan: {apply}"]


def name_or_none(worker: str | None) -> str:
    """The name of a worker, for a line of text."""
    return "no worker" if worker is None else sanitize_line(worker)


def bytes_text(size: float) -> str:
    """In the largest unit that leaves at least one."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _partition_row(partition: Partition, state: PartitionState, hosts: dict[str, str]) -> Sequence[str]:
    return (
        str(partition.number),
        sanitize_line(partition.owner or "-"),
        sanitize_line(hosts.get(partition.owner or "", "-")),
        state.value,
        f"{partition.received_per_second:.1f}",
        f"{partition.deposited_per_second:.1f}",
        str(partition.mailboxes_waiting),
        f"{partition.oldest_seconds:.1f}",
        str(partition.records_behind),
        f"{partition.seconds_behind:.1f}",
        bytes_text(partition.bytes_waiting),
        _pin(partition),
    )


def _pin(partition: Partition) -> str:
    if partition.target is None:
        return "-"
    target = sanitize_line(partition.target)
    return target if partition.is_pinned else f"moves to {target}"


def _worker_row(worker: Worker, cluster: Cluster) -> Sequence[str]:
    return (
        sanitize_line(worker.name),
        sanitize_line(worker.host),
        sanitize_line(worker.version),
        worker_state(worker, cluster),
        str(sum(each.owner == worker.name for each in cluster.partitions)),
        f"{cluster.load_by_worker.get(worker.name, 0.0):.1f}",
        f"{worker.cpu:.0%}",
        bytes_text(worker.memory_bytes),
        f"{max(0.0, (cluster.seen_at - worker.heartbeat_at).total_seconds()):.1f} s ago",
    )
