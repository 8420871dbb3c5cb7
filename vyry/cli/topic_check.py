"""Refuses a node whose work topic is not that of the installation: no worker would read its records, and its mail would be late for ever."""

import asyncio

from vyry.cli.errors import RefusedByState
from vyry.errors import Unavailable
from vyry.kafka.url import topic_name
from vyry.settings.settings import Settings
from vyry.storage.database import open_database
from vyry.storage.partitions import PartitionStore


def require_same_topic(settings: Settings) -> None:
    """Raises RefusedByState when KAFKA_URL has another prefix than the database knows. A database that is down is no error."""
    if settings.kafka_url is None:
        return
    name = topic_name(settings.kafka_url.get_secret_value())
    try:
        known = asyncio.run(_read_topic_name(settings.database_url.get_secret_value()))
    except Unavailable:
        return
    if known is not None and known != name:
        raise RefusedByState(
            f"KAFKA_URL names the topic {name}, and this installation uses {known}: set the prefix in KAFKA_URL to that of the other nodes."
        )


async def _read_topic_name(url: str) -> str | None:
    async with open_database(url):
        known = await PartitionStore().read_map()
    return known.topic if known else None
