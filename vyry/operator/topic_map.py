"""The work topic and VYRY_PARTITIONS compared with the map of the database: a line for the operator for each difference."""

from collections.abc import Iterator

from vyry.kafka.topic import TopicState
from vyry.mail.workers import PartitionMap


def map_differences(known: PartitionMap, topic: TopicState) -> Iterator[str]:
    """A line for each difference, with what to do."""
    if topic.name != known.topic:
        yield f"{other_topic(topic.name, known)}."
        return
    if topic.partitions < known.partitions:
        yield f"{too_few_partitions(topic.name, topic.partitions, known)}."
    if topic.leaderless:
        numbers = ", ".join(map(str, topic.leaderless))
        yield f"No broker leads partitions {numbers} of the topic {topic.name}: mail of these waits for the sweeper; start the brokers that have them."


def unused_setting(known: PartitionMap, wanted: int | None) -> Iterator[str]:
    """A line when VYRY_PARTITIONS (`wanted`) is another number than that of the map, which counts: no fault, but no effect either."""
    if wanted is not None and wanted > known.partitions:
        yield (
            f"VYRY_PARTITIONS={wanted} counts only for a new topic, and this one has {known.partitions} partitions:"
            f" run `vyry partitions plan grow {wanted}`."
        )
    if wanted is not None and wanted < known.partitions:
        yield f"VYRY_PARTITIONS={wanted} counts only for a new topic; this one has {known.partitions} partitions, and their number never falls."


def other_topic(name: str, known: PartitionMap) -> str:
    """For a node whose KAFKA_URL names another topic: no worker reads its records."""
    return f"KAFKA_URL names the topic {name}, and this installation uses {known.topic}: set the prefix in KAFKA_URL to that of the other nodes"


def too_few_partitions(name: str, partitions: int, known: PartitionMap) -> str:
    """For a topic that lacks partitions of the map: records of their mailboxes go nowhere."""
    return f"The topic {name} has {partitions} partitions, and the database spreads mailboxes over {known.partitions}: run `vyry partitions plan grow {known.partitions}`"
