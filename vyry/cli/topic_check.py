"""Refuses a node whose work topic is not that of the installation: no worker would read its records, and its mail would be late for ever."""

import asyncio

from vyry.errors import OperationRefused, Unavailable
from vyry.kafka.url import topic_name
from vyry.mail.workers import PartitionMap
from vyry.operator.topic_map import other_topic
from vyry.settings.settings import Settings
from vyry.storage.database import open_database
from vyry.storage.partitions import PartitionStore


def require_same_topic(settings: Settings) -> None:
    """Raises OperationRefused when KAFKA_URL has another prefix than the database knows. A database that is down is no error."""
    if settings.kafka_url is None:
        return
    name = topic_name(settings.kafka_url.get_secret_value())
    try:
        known = asyncio.run(_read_map(settings.database_url.get_secret_value()))
    except Unavailable:
        return
    if known is not None and known.topic != name:
        raise OperationRefused(f"{other_topic(name, known)}.")


async def _read_map(url: str) -> PartitionMap | None:
    async with open_database(url):
        return await PartitionStore().read_map()
