"""A plan has a short id of what it saw, and is refused once that has changed."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given

from tests.support.partition_clusters import LOST, NOW, cluster, clusters, with_partition, worker
from vyry.mail.partitions import Cluster
from vyry.operator.partitions.model import Move, Plan, PlanKind, PlanRefused, PlanStatus
from vyry.operator.partitions.plans import (
    make_plan,
    pack_basis,
    require_possible,
    require_unchanged,
    unpack_basis,
)


BEFORE = cluster(["w1", "w2", "w1"])
MOVE = Move(0, "w1", "w2")


def plan(found: Cluster = BEFORE, *moves: Move) -> Plan:
    return make_plan(found, PlanKind.MOVE, moves or (MOVE,))


def test_the_same_state_and_moves_have_the_same_id() -> None:
    later = replace(BEFORE, seen_at=NOW + timedelta(seconds=1))

    assert plan().state_id == plan(later).state_id


def test_another_load_does_not_change_the_id() -> None:
    assert plan().state_id == plan(with_partition(BEFORE, 0, received_per_second=99.0)).state_id


@pytest.mark.parametrize(
    "other",
    [
        with_partition(BEFORE, 2, owner="w2"),
        with_partition(BEFORE, 2, target="w2", is_pinned=True),
        replace(BEFORE, generation=2),
        replace(BEFORE, workers=(*BEFORE.workers, worker("w3"))),
        replace(BEFORE, workers=(worker("w1"), worker("w2", is_draining=True))),
        replace(BEFORE, workers=(worker("w1"), worker("w2", heartbeat_at=LOST))),
    ],
    ids=["owner", "pin", "generation", "joined", "draining", "lost"],
)
def test_another_state_has_another_id_and_the_plan_is_refused(other: Cluster) -> None:
    assert plan(other).state_id != plan().state_id
    with pytest.raises(PlanRefused, match="make a new plan"):
        require_unchanged(plan(), other)


def test_other_moves_have_another_id() -> None:
    assert plan(BEFORE, Move(2, "w1", "w2")).state_id != plan().state_id


def test_a_refusal_names_the_first_changes_and_how_many_more() -> None:
    other = replace(cluster([None] * 3), workers=(worker("w3"),))

    with pytest.raises(PlanRefused, match=r"worker w1 has left; worker w2 has left; worker w3 has joined, and 3 more"):
        require_unchanged(plan(), other)


@given(clusters())
def test_a_plan_for_an_unchanged_cluster_is_not_refused(found: Cluster) -> None:
    require_unchanged(make_plan(found, PlanKind.REBALANCE, ()), found)


@given(clusters())
def test_the_basis_of_a_plan_survives_the_database(found: Cluster) -> None:
    basis = make_plan(found, PlanKind.REBALANCE, ()).basis

    assert unpack_basis(json.loads(json.dumps(pack_basis(basis)))) == basis


def test_a_started_plan_continues_while_other_partitions_move() -> None:
    started = replace(plan(), status=PlanStatus.APPLYING)

    require_possible(started, cluster(["w2", "w1", None]))


def test_a_started_plan_is_refused_once_its_destination_is_lost() -> None:
    other = replace(BEFORE, workers=(worker("w1"), worker("w2", heartbeat_at=LOST)))

    with pytest.raises(PlanRefused, match="Worker w2 is lost"):
        require_possible(plan(), other)


def test_a_started_plan_whose_moves_have_settled_needs_no_destination() -> None:
    other = replace(BEFORE, workers=(worker("w1"),))

    require_possible(replace(plan(), settled=(0,)), other)


def test_a_started_plan_is_refused_once_its_partition_is_pinned_elsewhere() -> None:
    other = with_partition(BEFORE, 0, target="w1", is_pinned=True)

    with pytest.raises(PlanRefused, match="pinned to worker w1"):
        require_possible(plan(), other)


def test_a_started_plan_is_refused_once_another_plan_has_grown_the_topic() -> None:
    with pytest.raises(PlanRefused, match="There are 4 partitions meanwhile"):
        require_possible(plan(), replace(cluster(["w1", "w2", "w1", "w2"]), generation=2))
