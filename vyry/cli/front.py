"""`vyry web`: the front door of a cluster, in one process or several."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Final

from cyclopts import Parameter, validators

from vyry.adapters.admin import admin_listening
from vyry.bootstrap import Services, open_services
from vyry.cli.certificate import certificate_of, certified
from vyry.cli.refusals import CannotServe
from vyry.cli.running import refuse_lost_secrets, refuse_unmigrated, run
from vyry.cli.supervisor import Supervisor
from vyry.errors import Unavailable
from vyry.settings import Role, Settings, load_settings
from vyry.telemetry import configure_logging, log
from web.app import build_app, listening
from web.keys import DRAINING, SWITCHBOARD


#: With the 10 s that requests under way may take, and the closing of pools, this stays within running.STOP_SECONDS.
DRAIN_SECONDS: Final = 8.0


def web(*, processes: Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=64))] = None) -> int:
    """Run the front door of a cluster: REST and sockets on SERVER_HOST and SERVER_PORT.

    Needs DATABASE_URL, REDIS_URL, KAFKA_URL and JWT_SECRET; in production VYRY_PEPPER_FILE too.

    Args:
        processes: How many processes share the port, so that more than one core is used (VYRY_PROCESSES).
            Each has its own metrics, on VYRY_ADMIN_PORT and the ports after it.
    """
    settings = load_settings(Role.WEB)
    configure_logging(settings.log_level)
    refuse_taken(settings)
    refuse_unmigrated(settings)
    # A database that is away may come back: the node starts, and says so on /ready.
    with suppress(Unavailable):
        asyncio.run(refuse_lost_secrets(settings))
    count = processes or settings.processes
    if count == 1:
        return run(partial(serve, settings))
    return Supervisor(lambda parent: run(partial(serve, settings, reuse_port=True), parent=parent), count).run()


def refuse_taken(settings: Settings) -> None:
    """Say in one line that the port or the certificate cannot be had, before anything is opened. Raises CannotServe."""
    certificate_of(settings)
    port = settings.server_port
    for host in settings.server_hosts:
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as problem:
            why = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else str(problem)
            raise CannotServe(
                f"Cannot listen on {host}, port {port} ({why}): end what listens there, or set SERVER_PORT and SERVER_HOST."
            ) from None


async def serve(settings: Settings, stop: asyncio.Event, *, reuse_port: bool = False) -> None:
    """Be a web node until `stop` is set."""
    async with open_services(settings, Role.WEB) as services, front_door(settings, services, reuse_port=reuse_port):
        await stop.wait()


@asynccontextmanager
async def front_door(settings: Settings, services: Services, *, reuse_port: bool = False) -> AsyncIterator[int]:
    """Listen for clients and for the operator; yields the clients' port.

    At the end the node is not ready any more, says goodbye on its sockets, and finishes the requests it has.
    """
    app = build_app(settings, services)
    async with (
        admin_listening(settings.admin_host, settings.admin_port, services.health),
        certified(settings) as tls,
        listening(app, settings.server_hosts, settings.server_port, reuse_port=reuse_port, tls=tls) as port,
    ):
        log.info("listening", host=settings.server_host, port=port)
        yield port
        app[DRAINING].set()
        # A socket that does not take its goodbye is cut a moment later.
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await app[SWITCHBOARD].drain()
