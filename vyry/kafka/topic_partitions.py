"""The partitions of the work topic for a command of the operator: read them, and add some. Kafka cannot remove any."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaError

from vyry.kafka.topic import ADMIN_SECONDS, TopicState, read_topic
from vyry.kafka.url import client_options, topic_name


class TopicUnavailable(Exception):
    """Kafka does not respond, or refuses the request. The text says what to check."""


async def read_partitions(url: str) -> TopicState | None:
    """The work topic, None when it does not exist. Raises TopicUnavailable."""
    async with _unavailable():
        return await read_topic(url)


async def add_partitions(url: str, partitions: int) -> None:
    """Raise the number of partitions of the topic to `partitions`. Raises TopicUnavailable."""
    admin = AIOKafkaAdminClient(**client_options(url), request_timeout_ms=int(ADMIN_SECONDS * 1000))
    try:
        async with _unavailable(), asyncio.timeout(2 * ADMIN_SECONDS):
            await admin.start()
            await admin.create_partitions({topic_name(url): NewPartitions(total_count=partitions)})
    finally:
        with suppress(KafkaError, OSError, AssertionError):
            async with asyncio.timeout(1):
                await admin.close()


@asynccontextmanager
async def _unavailable() -> AsyncIterator[None]:
    try:
        yield
    except (OSError, KafkaError) as problem:
        raise TopicUnavailable(
            f"Kafka does not respond or refuses the request ({type(problem).__name__}): check that it is running and that KAFKA_URL is right."
        ) from problem
