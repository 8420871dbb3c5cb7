"""What the commands that move partitions need first: a cluster with a work topic."""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TypeVar

from vyry.cli.errors import UsageError
from vyry.cli.operator import run_in_database
from vyry.errors import OperationRefused
from vyry.kafka.topic import TopicState, read_partitions
from vyry.kafka.url import topic_name
from vyry.operator.partitions.model import PlanKind
from vyry.operator.topic_map import map_differences
from vyry.settings.settings import Settings
from vyry.storage.database import is_postgres
from vyry.storage.partitions import PartitionStore


T = TypeVar("T")


def run_in_cluster(settings: Settings, work: Callable[[], Coroutine[None, None, T]]) -> T:
    """Run `work` with the database open. Raises CommandError, Unavailable."""
    # aiokafka logs each failed connection; the error of the command says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return run_in_database(settings, work)


def require_cluster(settings: Settings) -> str:
    """The URL of Kafka. Raises OperationRefused for a node of `vyry start`, UsageError without KAFKA_URL."""
    if not is_postgres(settings.database_url.get_secret_value()):
        raise OperationRefused(
            "A node of `vyry start` has one worker: its partitions cannot be moved, drained, pinned or added. "
            "Several workers need PostgreSQL, Redis and Kafka (docs/operations.md)."
        )
    if settings.kafka_url is None:
        raise UsageError("KAFKA_URL is not set: run this command with the settings of a worker.")
    return settings.kafka_url.get_secret_value()


async def require_topic(kafka: str, kind: PlanKind | None = None) -> TopicState:
    """The topic. Raises OperationRefused when it is not the one of this installation, or has too few partitions for anything but to grow it."""
    topic, known = await read_partitions(kafka), await PartitionStore().read_map()
    if topic is None:
        raise OperationRefused(f"The brokers have no topic {topic_name(kafka)}: run `vyry migrate`.")
    partitions = max(topic.partitions, known.partitions) if known and kind is PlanKind.GROW else topic.partitions
    for line in map_differences(known, replace(topic, partitions=partitions, leaderless=())) if known else ():
        raise OperationRefused(line)
    return topic
