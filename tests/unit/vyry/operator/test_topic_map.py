"""The topic compared with the map of the database: each difference has a line with what to do."""

from dataclasses import replace

from vyry.kafka.topic import TopicState
from vyry.mail.workers import PartitionMap
from vyry.operator.topic_map import map_differences, unused_setting


KNOWN = PartitionMap(generation=2, partitions=8, topic="vyry-mailbags")
TOPIC = TopicState(name="vyry-mailbags", partitions=8, replication=3, brokers=3, leaderless=[])


def test_a_topic_that_fits_has_no_line() -> None:
    assert list(map_differences(KNOWN, TOPIC)) == []
    assert list(unused_setting(KNOWN, 8)) == []


def test_another_topic_is_named_with_that_of_the_installation() -> None:
    (line,) = map_differences(KNOWN, replace(TOPIC, name="house.vyry-mailbags", partitions=1))

    assert line.startswith("KAFKA_URL names the topic house.vyry-mailbags, and this installation uses vyry-mailbags")


def test_a_topic_with_too_few_partitions_says_how_to_add_them() -> None:
    (line,) = map_differences(KNOWN, replace(TOPIC, partitions=4))

    assert "has 4 partitions, and the database spreads mailboxes over 8: run `vyry partitions plan grow 8`" in line


def test_partitions_without_a_leader_are_listed() -> None:
    (line,) = map_differences(KNOWN, replace(TOPIC, leaderless=[1, 5]))

    assert "No broker leads partitions 1, 5" in line


def test_a_setting_that_wants_more_says_what_to_run_and_one_that_wants_fewer_that_it_cannot_be() -> None:
    (more,) = unused_setting(KNOWN, 12)
    (fewer,) = unused_setting(KNOWN, 4)

    assert "run `vyry partitions plan grow 12`" in more
    assert "never falls" in fewer
