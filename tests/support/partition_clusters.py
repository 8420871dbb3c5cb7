"""Clusters of workers and partitions for tests of plans: made by hand, or any by Hypothesis."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from vyry.mail.partitions import WORKER_LOST_SECONDS, Cluster, Partition, Worker


NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LOST = NOW - timedelta(seconds=WORKER_LOST_SECONDS + 1)


def worker(name: str, *, heartbeat_at: datetime = NOW, is_draining: bool = False) -> Worker:
    return Worker(
        name=name,
        host="host-1",
        version="1.0",
        boot=UUID(int=1),
        started_at=NOW - timedelta(hours=1),
        heartbeat_at=heartbeat_at,
        cpu=0.25,
        memory_bytes=100 << 20,
        is_draining=is_draining,
    )


def partition(number: int, owner: str | None, load: float = 1.0) -> Partition:
    return Partition(
        number=number,
        owner=owner,
        assigned_at=NOW - timedelta(minutes=30),
        reported_at=NOW,
        last_record_at=NOW,
        received_per_second=load,
        deposited_per_second=load,
    )


def cluster(owners: Sequence[str | None], loads: Sequence[float] = (), *workers: Worker) -> Cluster:
    """Partitions with these owners, each a live worker unless `workers` are given."""
    names = sorted({owner for owner in owners if owner})
    each = [partition(number, owner, loads[number] if loads else 1.0) for number, owner in enumerate(owners)]
    return Cluster(seen_at=NOW, workers=workers or tuple(map(worker, names)), partitions=tuple(each), generation=1)


def with_partition(found: Cluster, number: int, **changes: object) -> Cluster:
    """The cluster with one partition changed."""
    partitions = list(found.partitions)
    partitions[number] = replace(partitions[number], **changes)  # type: ignore[arg-type]  # the tests know the fields
    return replace(found, partitions=tuple(partitions))


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Any cluster: lost and draining workers, partitions without a worker, pins, equal loads and very different ones."""
    names = [f"w{number}" for number in range(draw(st.integers(2, 6)))]
    heartbeats = st.sampled_from([NOW, NOW, NOW, LOST])
    workers = [
        worker(name, heartbeat_at=draw(heartbeats), is_draining=draw(st.sampled_from([False, False, True])))
        for name in names
    ]
    owners = draw(st.lists(st.sampled_from([*names, None]), min_size=1, max_size=24))
    loads = st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1000))
    found = cluster(owners, [draw(loads) for _ in owners], *workers)
    for number in draw(st.sets(st.integers(0, len(owners) - 1), max_size=3)):
        found = with_partition(found, number, target=draw(st.sampled_from(names)), is_pinned=True)
    return found
