"""The number of partitions of the work topic: read it, and raise it. Kafka cannot lower it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaError, for_code

from vyry.kafka.url import client_options, topic_name


_TIMEOUT_SECONDS: Final = 10.0


class TopicUnavailable(Exception):
    """Kafka does not respond, or refuses the request. The text says what to check."""


async def count_partitions(url: str) -> int:
    """The number of partitions of the topic, 0 when there is no such topic. Raises TopicUnavailable."""
    name = topic_name(url)
    async with _admin_client(url) as admin:
        if name not in await admin.list_topics():
            return 0
        (topic,) = await admin.describe_topics([name])
        if topic["error_code"]:
            raise for_code(topic["error_code"])
        return len(topic["partitions"])


async def add_partitions(url: str, partitions: int) -> None:
    """Raise the number of partitions of the topic to `partitions`. Raises TopicUnavailable."""
    async with _admin_client(url) as admin:
        await admin.create_partitions({topic_name(url): NewPartitions(total_count=partitions)})


@asynccontextmanager
async def _admin_client(url: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(url), request_timeout_ms=int(_TIMEOUT_SECONDS * 1000))
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await admin.start()
            yield admin
    except (OSError, KafkaError) as problem:
        raise TopicUnavailable(
            f"Kafka does not respond or refuses the request ({type(problem).__name__}): check that it is running and that KAFKA_URL is right."
        ) from problem
    finally:
        with suppress(OSError, KafkaError):
            async with asyncio.timeout(1):
                await admin.close()
