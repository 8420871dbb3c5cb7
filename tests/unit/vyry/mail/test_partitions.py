"""The state of a partition, and the skew of the load."""

from datetime import timedelta

import pytest

from tests.support.partition_clusters import LOST, NOW, cluster, with_partition, worker
from vyry.mail.partitions import Cluster, PartitionState, skew_of


ONE = cluster(["w1"])


def state(found: Cluster) -> PartitionState:
    return found.state_of(found.partitions[0])


def test_a_partition_whose_worker_reads_is_ok() -> None:
    assert state(ONE) == PartitionState.OK


def test_a_partition_without_a_worker_is_orphaned() -> None:
    assert state(with_partition(ONE, 0, owner=None)) == PartitionState.ORPHANED


def test_a_partition_of_a_lost_or_unknown_worker_is_orphaned() -> None:
    assert state(cluster(["w1"], [1.0], worker("w1", heartbeat_at=LOST))) == PartitionState.ORPHANED
    assert state(cluster(["w1"], [1.0], worker("w2"))) == PartitionState.ORPHANED


def test_a_partition_is_late_when_mail_has_no_number_for_over_a_second() -> None:
    assert state(with_partition(ONE, 0, oldest_seconds=1.1)) == PartitionState.LATE
    assert state(with_partition(ONE, 0, oldest_seconds=0.9)) == PartitionState.OK


@pytest.mark.parametrize(
    ("behind", "idle", "expected"),
    [(1, 6, PartitionState.STALLED), (1, 4, PartitionState.OK), (0, 600, PartitionState.OK)],
)
def test_a_partition_is_stalled_when_records_wait_and_none_is_read(
    behind: int, idle: int, expected: PartitionState
) -> None:
    found = with_partition(ONE, 0, records_behind=behind, last_record_at=NOW - timedelta(seconds=idle))

    assert state(found) == expected


def test_a_partition_that_was_just_assigned_is_not_stalled() -> None:
    found = with_partition(ONE, 0, records_behind=9, last_record_at=None, assigned_at=NOW)

    assert state(found) == PartitionState.OK


def test_the_skew_is_the_highest_load_over_the_mean() -> None:
    assert cluster(["w1", "w2"], [3.0, 1.0]).skew == pytest.approx(1.5, rel=0.01)
    assert skew_of([]) == skew_of([0.0, 0.0]) == 1.0


def test_a_worker_without_partitions_counts_in_the_skew_and_a_draining_one_does_not() -> None:
    idle, drained = worker("w2"), worker("w2", is_draining=True)

    assert cluster(["w1"], [1.0], worker("w1"), idle).skew == pytest.approx(2.0)
    assert cluster(["w1"], [1.0], worker("w1"), drained).skew == pytest.approx(1.0)
