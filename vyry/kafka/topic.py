"""The work topic as the brokers have it. Only `vyry migrate` creates it and only `vyry partitions` grows it: web nodes and workers never change it."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from vyry.errors import CommandError
from vyry.kafka.url import client_options, topic_name
from vyry.telemetry import log


ADMIN_SECONDS: Final = 5.0
#: The copies of each partition, where as many brokers are up and no setting says otherwise: then one of them may be away.
REPLICATION: Final = 3
#: Work records are hints and are acknowledged by one replica, so one is enough to go on.
_TOPIC_OPTIONS: Final = {"min.insync.replicas": "1", "cleanup.policy": "delete", "retention.ms": "86400000"}
_NO_BROKER: Final = -1


class TopicMissing(Exception):
    """The brokers are up, and have no work topic of this name."""


class TopicRefused(Exception):
    """The brokers do not create the topic; the text says why."""


class TopicUnavailable(CommandError):
    """Kafka does not respond, or refuses the request. The text says what to check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """The work topic at one moment."""

    name: str
    #: By rising number: 0 to `len(partitions)` - 1.
    partitions: int
    #: The fewest copies of any partition, and the brokers that are up.
    replication: int
    brokers: int
    #: The partitions that no broker leads: their work records wait.
    leaderless: Collection[int]


def log_missing_topic(name: str) -> None:
    """Name the topic and what to do."""
    log.error("topic_missing", topic=name, reason="the brokers have no such topic: run `vyry migrate`")


async def read_topic(url: str) -> TopicState | None:
    """The work topic, None when it does not exist. Raises KafkaError, OSError or TimeoutError when no broker answers within `ADMIN_SECONDS`."""
    async with _admin(url) as admin:
        return await _read(admin, topic_name(url))


async def read_partitions(url: str) -> TopicState | None:
    """`read_topic` for a command of the operator. Raises TopicUnavailable."""
    async with _unavailable():
        return await read_topic(url)


async def add_partitions(url: str, partitions: int) -> None:
    """Raise the number of partitions of the topic to `partitions`; Kafka cannot remove any. Raises TopicUnavailable."""
    async with _unavailable(), _admin(url) as admin:
        await admin.create_partitions({topic_name(url): NewPartitions(total_count=partitions)})


async def ensure_topic(url: str, partitions: int, replication: int | None = None) -> bool:
    """Create the work topic if it does not exist; returns whether it was created. Several processes may call it at once.

    Without `replication` there are as many copies as brokers, at most `REPLICATION`. Raises KafkaError, OSError or TimeoutError.
    """
    name = topic_name(url)
    async with _admin(url) as admin:
        if name in await admin.list_topics():
            return False
        copies = replication or min(REPLICATION, len((await admin.describe_cluster())["brokers"]))
        topic = NewTopic(name, partitions, copies, topic_configs=_TOPIC_OPTIONS)
        answer = await admin.create_topics([topic])
    code: int = answer.topic_errors[0][1]
    if code not in (0, TopicAlreadyExistsError.errno):
        raise TopicRefused(f"the broker refuses topic {name}: {answer.topic_errors[0][2] or code}")
    return code == 0


async def _read(admin: Any, name: str) -> TopicState | None:
    # Asked for by its name, a topic that does not exist would be created by brokers that do so.
    if name not in await admin.list_topics():
        return None
    (topic,) = await admin.describe_topics([name])
    brokers = (await admin.describe_cluster())["brokers"]
    return TopicState(
        name=name,
        partitions=len(topic["partitions"]),
        replication=min((len(each["replicas"]) for each in topic["partitions"]), default=0),
        brokers=len(brokers),
        leaderless=sorted(each["partition"] for each in topic["partitions"] if each["leader"] == _NO_BROKER),
    )


@asynccontextmanager
async def _unavailable() -> AsyncIterator[None]:
    try:
        yield
    except (OSError, KafkaError) as problem:
        raise TopicUnavailable(
            f"Kafka does not respond or refuses the request ({type(problem).__name__}): check that it is running and that KAFKA_URL is right."
        ) from problem


@asynccontextmanager
async def _admin(url: str) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(**client_options(url), request_timeout_ms=int(ADMIN_SECONDS * 1000))
    try:
        async with asyncio.timeout(ADMIN_SECONDS):
            await admin.start()
            yield admin
    finally:
        with suppress(KafkaError, OSError, TimeoutError, AssertionError):
            async with asyncio.timeout(1):
                await admin.close()
