"""Plans of moves: no more than needed, nothing left on a drained worker, never a higher skew."""

import pytest
from hypothesis import assume, given

from tests.support.partition_clusters import LOST, cluster, clusters, with_partition, worker
from vyry.mail.partitions import Cluster, skew_of
from vyry.operator.partitions.model import Move, NotInCluster, PlanRefused
from vyry.operator.partitions.planning import (
    SKEW_BOUND,
    loads_after,
    plan_drain,
    plan_grow,
    plan_move,
    plan_rebalance,
)


def skew_after(found: Cluster, moves: tuple[Move, ...]) -> float:
    loads = loads_after(found, moves)
    return skew_of([loads[each.name] for each in found.receivers])


def test_a_move_is_one_move() -> None:
    found = cluster(["w1", "w2"])

    assert plan_move(found, 0, "w2") == (Move(0, "w1", "w2"),)


def test_a_partition_without_a_worker_can_be_moved() -> None:
    found = cluster([None, "w2"])

    assert plan_move(found, 0, "w2") == (Move(0, None, "w2"),)


@pytest.mark.parametrize(("number", "to"), [(2, "w1"), (-1, "w1"), (0, "w9")])
def test_a_move_of_or_to_what_does_not_exist_is_an_error(number: int, to: str) -> None:
    with pytest.raises(NotInCluster):
        plan_move(cluster(["w1", "w2"]), number, to)


def test_a_move_to_a_lost_or_draining_worker_is_refused() -> None:
    workers = worker("w1"), worker("w2", heartbeat_at=LOST), worker("w3", is_draining=True)
    found = cluster(["w1"], [1.0], *workers)

    with pytest.raises(PlanRefused, match="lost"):
        plan_move(found, 0, "w2")
    with pytest.raises(PlanRefused, match="draining"):
        plan_move(found, 0, "w3")


def test_a_move_to_where_the_partition_is_is_refused() -> None:
    with pytest.raises(PlanRefused, match="already"):
        plan_move(cluster(["w1", "w2"]), 0, "w1")


def test_a_move_of_a_partition_that_is_pinned_elsewhere_is_refused() -> None:
    found = with_partition(cluster(["w1", "w2"]), 0, target="w1", is_pinned=True)

    with pytest.raises(PlanRefused, match="unpin 0"):
        plan_move(found, 0, "w2")


def test_a_drain_gives_the_busiest_partition_to_the_idlest_worker() -> None:
    found = cluster(["w1", "w1", "w2", "w3"], [5, 20, 10, 40])

    assert plan_drain(found, "w1") == (Move(1, "w1", "w2"), Move(0, "w1", "w2"))


def test_the_only_worker_cannot_be_drained() -> None:
    workers = worker("w1"), worker("w2", is_draining=True), worker("w3", heartbeat_at=LOST)

    with pytest.raises(PlanRefused, match="start another worker"):
        plan_drain(cluster(["w1"], [1.0], *workers), "w1")


def test_a_rebalance_of_one_hot_worker_moves_one_partition() -> None:
    found = cluster(["w1", "w1", "w2"], [100, 100, 1])

    assert plan_rebalance(found) == (Move(0, "w1", "w2"),)


def test_a_new_worker_gets_its_share_by_a_rebalance() -> None:
    found = cluster(["w1"] * 6 + ["w2"] * 6, [1.0] * 12, *map(worker, ("w1", "w2", "w3")))

    moves = plan_rebalance(found)

    assert [move.destination for move in moves] == ["w3"] * 4
    assert skew_after(found, moves) == pytest.approx(1.0)


def test_a_rebalance_of_an_even_cluster_moves_nothing() -> None:
    assert plan_rebalance(cluster(["w1", "w2", "w3"] * 4)) == ()


def test_a_rebalance_leaves_pinned_partitions() -> None:
    found = with_partition(cluster(["w1", "w1", "w2"], [100, 100, 1]), 0, target="w1", is_pinned=True)

    assert plan_rebalance(found) == (Move(1, "w1", "w2"),)


def test_a_topic_does_not_shrink() -> None:
    with pytest.raises(PlanRefused, match="cannot remove partitions"):
        plan_grow(cluster(["w1"] * 4), 3, in_topic=4)


@pytest.mark.parametrize("partitions", [4, 1025])
def test_growing_to_the_same_or_to_too_many_is_refused(partitions: int) -> None:
    with pytest.raises(PlanRefused):
        plan_grow(cluster(["w1"] * 4), partitions, in_topic=4)


def test_partitions_that_the_topic_lacks_are_added() -> None:
    assert plan_grow(cluster(["w1"] * 4), 4, in_topic=3) == ()


@given(clusters())
def test_a_drain_leaves_nothing_and_moves_nothing_else(found: Cluster) -> None:
    name = found.receivers[0].name if len(found.receivers) > 1 else ""
    assume(name)

    moves = plan_drain(found, name)

    assert {move.partition for move in moves} == {each.number for each in found.partitions if each.owner == name}
    assert {move.destination for move in moves} <= {each.name for each in found.receivers} - {name}


@given(clusters())
def test_a_rebalance_never_raises_the_skew_and_moves_each_partition_once(found: Cluster) -> None:
    assume(len(found.receivers) > 1)

    moves = plan_rebalance(found)

    assert skew_after(found, moves) <= found.skew + 1e-6
    assert len({move.partition for move in moves}) == len(moves)
    assert not moves or found.skew > SKEW_BOUND


@given(clusters())
def test_a_rebalance_moves_free_partitions_from_live_workers_to_live_workers(found: Cluster) -> None:
    assume(len(found.receivers) > 1)
    names = {each.name for each in found.receivers}

    for move in plan_rebalance(found):
        assert move.source in names
        assert move.destination in names - {move.source}
        assert not found.partitions[move.partition].is_pinned


@given(clusters())
def test_a_rebalance_needs_each_of_its_moves(found: Cluster) -> None:
    assume(len(found.receivers) > 1)
    moves = plan_rebalance(found)
    reached = max(SKEW_BOUND, skew_after(found, moves))

    for move in moves:
        assert skew_after(found, tuple(other for other in moves if other != move)) > reached
