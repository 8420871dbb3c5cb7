"""The assignor in aiokafka's words: what a worker says when it joins, and what the leader makes of it."""

from typing import Any

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from vyry.kafka.assignor import WorkerAssignor
from vyry.mail.assignment import Wishes


class FourPartitions:
    """A cluster that has one topic."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(4)) if topic == "topic" else set()


def rebalance(leader: Any, **members: Any) -> dict[str, list[int]]:
    """A rebalance over the wire; returns what each member got."""
    joined = {
        name: ConsumerProtocolMemberMetadata.decode(each.metadata({"topic"}).encode()) for name, each in members.items()
    }
    found = leader.assign(FourPartitions(), joined)
    for name, each in members.items():
        each.on_assignment(ConsumerProtocolMemberAssignment.decode(found[name].encode()))
    return {name: [tp.partition for tp in each.partitions()] for name, each in found.items()}


def test_the_newest_wishes_of_any_member_count() -> None:
    ann, bob = WorkerAssignor("ann"), WorkerAssignor("bob")
    rebalance(ann, ann=ann, bob=bob)
    ann.wishes = Wishes(seen_at=1.0, targets={0: "bob"})
    bob.wishes = Wishes(seen_at=2.0, targets={0: "ann", 1: "ann"})

    assert rebalance(ann, ann=ann, bob=bob)["ann"] == [0, 1, 2]


def test_a_worker_keeps_its_partitions_over_rebalances_and_leaders() -> None:
    ann, bob = WorkerAssignor("ann"), WorkerAssignor("bob")
    alone = rebalance(ann, ann=ann)
    both = rebalance(ann, ann=ann, bob=bob)

    again = rebalance(bob, ann=ann, bob=bob)

    assert (alone["ann"], both) == ([0, 1, 2, 3], again)
    assert set(both["ann"]) < {0, 1, 2, 3}


def test_a_worker_that_drains_no_longer_gets_its_share() -> None:
    ann, bob = WorkerAssignor("ann"), WorkerAssignor("bob")
    ann.wishes = Wishes(seen_at=1.0, draining=frozenset({"bob"}))
    assert rebalance(ann, ann=ann, bob=bob)["bob"] == []

    ann.wishes = Wishes(seen_at=2.0)
    bob.ask_for_share()

    assert len(rebalance(ann, ann=ann, bob=bob)["bob"]) == 2


def test_a_worker_of_version_1_0_is_in_the_same_group() -> None:
    ours, theirs = WorkerAssignor("ann"), RoundRobinPartitionAssignor
    assert ours.name == theirs.name

    led_by_us = rebalance(ours, ann=ours, old=theirs)
    led_by_them = rebalance(theirs, ann=ours, old=theirs)

    for found in (led_by_us, led_by_them):
        assert sorted(number for numbers in found.values() for number in numbers) == [0, 1, 2, 3]


def test_data_that_cannot_be_read_is_that_of_a_member_without_claims() -> None:
    ann = WorkerAssignor("ann")
    joined = {
        "ann": ann.metadata({"topic"}),
        "other": ConsumerProtocolMemberMetadata(0, ["topic"], b'{"name": 7, "owned": null}'),
        "noise": ConsumerProtocolMemberMetadata(0, ["topic"], b"\xff"),
    }

    found = ann.assign(FourPartitions(), joined)

    assert sorted(tp.partition for each in found.values() for tp in each.partitions()) == [0, 1, 2, 3]
