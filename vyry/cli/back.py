"""`vyry worker`: the sorting room of a cluster."""

import asyncio
from functools import partial

from agents.room import sorting_room
from vyry.adapters.admin import admin_listening
from vyry.bootstrap import open_services
from vyry.cli.running import refuse_unmigrated, run
from vyry.settings import Role, Settings, load_settings
from vyry.telemetry import configure_logging


def worker() -> int:
    """Run the sorting room of a cluster: mailbox agents on their partitions of the Kafka topic, and the sweeper.

    Needs DATABASE_URL, REDIS_URL and KAFKA_URL. As many workers share the work as the topic has partitions; metrics are on VYRY_ADMIN_PORT.
    """
    settings = load_settings(Role.WORKER)
    configure_logging(settings.log_level)
    refuse_unmigrated(settings)
    return run(partial(_serve, settings))


async def _serve(settings: Settings, stop: asyncio.Event) -> None:
    async with (
        open_services(settings, Role.WORKER) as services,
        admin_listening(settings.admin_host, settings.admin_port, services.health),
        sorting_room(settings, services),
    ):
        await stop.wait()
