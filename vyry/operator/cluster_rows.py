"""The cluster as rows of text, for the operator's page and `vyry top`. Names of workers are not escaped: that is for whoever shows them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vyry.mail.partitions import Cluster
from vyry.operator.partitions.report import describe_cluster


PARTITION_COLUMNS: Final = (
    "partition", "worker", "host", "state", "in/s", "out/s", "mailboxes waiting", "oldest s", "lag records", "lag s", "bytes waiting", "worst s", "pinned",
)  # fmt: skip
WORKER_COLUMNS: Final = ("worker", "host", "version", "state", "partitions", "load", "CPU", "memory", "started")
#: A name of a worker that is longer is cut.
_MAX_TEXT: Final = 64


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row, and the state that colours it."""

    state: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterRows:
    """Both tables, and one line that sums them up."""

    summary: str
    partitions: Sequence[Row]
    workers: Sequence[Row]


def cluster_rows(cluster: Cluster) -> ClusterRows:
    """The rows of both tables."""
    described = describe_cluster(cluster)
    partitions, workers = described["partitions"], described["workers"]
    states = Counter(each["state"] for each in partitions)
    bad = ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if state != "ok")
    return ClusterRows(
        f"{len(partitions)} partitions: {bad or 'all ok'}; {len(cluster.live_workers)} live workers; "
        f"oldest undeposited envelope {cluster.oldest_seconds:.1f} s; skew {cluster.skew:.2f}",
        [Row(each["state"], _partition_cells(each)) for each in partitions],
        [Row(each["state"], _worker_cells(each)) for each in workers],
    )


def _partition_cells(of: dict[str, Any]) -> tuple[str, ...]:
    target = _text(of["target"])
    return (
        str(of["partition"]),
        _text(of["owner"]),
        _text(of["host"]),
        of["state"],
        f"{of['receivedPerSecond']:.1f}",
        f"{of['depositedPerSecond']:.1f}",
        str(of["mailboxesWaiting"]),
        f"{of['oldestSeconds']:.1f}",
        str(of["recordsBehind"]),
        f"{of['secondsBehind']:.1f}",
        _bytes(of["bytesWaiting"]),
        f"{of['worstSeconds']:.1f}",
        target if of["isPinned"] or not of["target"] else f"moves to {target}",
    )


def _worker_cells(of: dict[str, Any]) -> tuple[str, ...]:
    return (
        _text(of["worker"]),
        _text(of["host"]),
        _text(of["version"]),
        of["state"],
        str(of["partitions"]),
        f"{of['load']:.1f}",
        f"{of['cpu']:.0%}",
        _bytes(of["memoryBytes"]),
        of["startedAt"][:19].replace("T", " "),
    )


def _text(value: str | None) -> str:
    return value[:_MAX_TEXT] if value else "-"


def _bytes(size: float) -> str:
    """In MiB, or in KiB below one."""
    return f"{size / 1024:.0f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"
