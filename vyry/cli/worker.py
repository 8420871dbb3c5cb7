"""`vyry worker`: a worker of a cluster."""

import asyncio
from functools import partial

from agents.worker import run_worker
from vyry.cli.admin_listener import serve_operator_listener
from vyry.cli.errors import flatten_exceptions
from vyry.cli.process import announce_start, require_migrated, run_process
from vyry.cli.topic_check import require_same_topic
from vyry.composition.services import open_services
from vyry.errors import OperationRefused
from vyry.settings.settings import Role, Settings, load_settings
from vyry.telemetry import configure_logging


def worker() -> int:
    """Run a worker of a cluster: mailbox agents and sweeper.

    The agents read the partitions of the Kafka topic that are assigned to this worker.

    Its name is VYRY_WORKER_NAME, or else the host and a number; two live workers never have the same one (exit code 3).

    Needs DATABASE_URL, REDIS_URL and KAFKA_URL. Workers beyond the number of partitions of the topic only sweep. Metrics are served on VYRY_ADMIN_PORT.
    """
    settings = load_settings(Role.WORKER)
    configure_logging(settings.log_level)
    announce_start(settings, Role.WORKER)
    require_migrated(settings)
    require_same_topic(settings)
    return run_process(partial(_serve_worker, settings))


async def _serve_worker(settings: Settings, stop: asyncio.Event) -> None:
    try:
        async with (
            open_services(settings, Role.WORKER) as services,
            serve_operator_listener(settings, services),
            run_worker(settings, services),
        ):
            await stop.wait()
    except BaseExceptionGroup as group:
        for problem in flatten_exceptions(group):
            if isinstance(problem, OperationRefused):
                raise problem from None
        raise
