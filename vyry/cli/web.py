"""`vyry web`: a web node of a cluster, in one process or several."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Final

from aiohttp.web import Application
from cyclopts import Parameter, validators

from vyry.cli.admin_listener import serve_operator_listener
from vyry.cli.process import STOP_SECONDS, announce_start, require_migrated, require_original_secrets, run_process
from vyry.cli.supervisor import Supervisor
from vyry.cli.tls_certificate import load_certificate, reloading_tls_context
from vyry.cli.topic_check import require_same_topic
from vyry.composition.services import Services, open_services
from vyry.errors import CommandError, Unavailable
from vyry.settings.settings import Role, Settings, load_settings
from vyry.telemetry import configure_logging, log
from web.app import build_app
from web.app_keys import DRAINING, SERVICES, SOCKET_HUB
from web.connection import BoundedRunner, open_listeners


#: The first part of VYRY_DRAIN_SECONDS is for the balancer: /ready responds with 503, and everything else works as before.
NOTICE_SHARE: Final = 0.25
#: For the last sockets: their posts, and close frames that the client does not answer. Together with the 10 s for running requests and the closing of
#: pools this stays below process.STOP_SECONDS.
CLOSE_SECONDS: Final = 4.0


def web(
    *,
    processes: Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=64))] = None,
    drain_seconds: Annotated[float | None, Parameter(validator=validators.Number(gte=0, lte=600))] = None,
) -> int:
    """Run a web node of a cluster: REST API and WebSockets.

    It listens on SERVER_HOST and SERVER_PORT.

    Requires DATABASE_URL, REDIS_URL, KAFKA_URL and JWT_SECRET; in production also VYRY_PEPPER_FILE.

    Args:
        processes: Number of processes that share the port, to use several cores (VYRY_PROCESSES).
            Each process serves its metrics on its own port, from VYRY_ADMIN_PORT upwards.
        drain_seconds: Seconds of a planned stop in which the sockets end one by one (VYRY_DRAIN_SECONDS).
    """
    settings = load_settings(Role.WEB)
    if drain_seconds is not None:
        settings = settings.model_copy(update={"drain_seconds": drain_seconds})
    configure_logging(settings.log_level)
    announce_start(settings, Role.WEB)
    check_listen_address(settings)
    require_migrated(settings)
    require_same_topic(settings)
    # A database that is down is no error: the node starts, and /ready reports it.
    with suppress(Unavailable):
        asyncio.run(require_original_secrets(settings))
    count = processes or settings.processes
    stop_seconds = STOP_SECONDS + settings.drain_seconds
    if count == 1:
        return run_process(partial(serve_web, settings), stop_seconds=stop_seconds)

    def run_child(parent: int, number: int) -> int:
        announce_start(settings, Role.WEB, number)
        own = settings.model_copy(update={"admin_port": settings.admin_port + number})
        return run_process(partial(serve_web, own, reuse_port=True), parent=parent, stop_seconds=stop_seconds)

    return Supervisor(run_child, count, stop_seconds).run()


def check_listen_address(settings: Settings) -> None:
    """Raises CommandError when the port is in use or the certificate is invalid, before anything is opened."""
    load_certificate(settings)
    port = settings.server_port
    for host in settings.server_hosts:
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as problem:
            why = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else str(problem)
            raise CommandError(
                f"Cannot listen on {host}, port {port} ({why}): stop the process that uses this port, or set SERVER_PORT and SERVER_HOST."
            ) from None


async def serve_web(settings: Settings, stop: asyncio.Event, *, reuse_port: bool = False) -> None:
    """Run a web node until `stop` is set."""
    async with open_services(settings, Role.WEB) as services, web_server(settings, services, reuse_port=reuse_port):
        await stop.wait()


@asynccontextmanager
async def web_server(settings: Settings, services: Services, *, reuse_port: bool = False) -> AsyncIterator[int]:
    """Listen for clients and for the operator; yields the clients' port.

    At the end the node is drained (`_drain`), and running requests finish.
    """
    app = build_app(settings, services)
    async with (
        serve_operator_listener(settings, services, app[SOCKET_HUB].queues),
        reloading_tls_context(settings) as tls,
        open_listeners(app, settings.server_hosts, settings.server_port, reuse_port=reuse_port, tls=tls) as runner,
    ):
        port: int = runner.addresses[0][1]
        log.info("listening", host=settings.server_host, port=port)
        yield port
        # Alone there is no other node that a device could reach meanwhile.
        await _drain(app, runner, 0.0 if settings.is_single_process else settings.drain_seconds)


async def _drain(app: Application, runner: BoundedRunner, seconds: float) -> None:
    """End all sockets within these seconds: /ready reports it first, then new connections are refused, and the sockets close one by one."""
    hub, notice = app[SOCKET_HUB], seconds * NOTICE_SHARE
    if seconds:
        log.info("draining", sockets=hub.socket_count, seconds=seconds)
    app[DRAINING].set()
    app[SERVICES].health.is_stopping = True
    await asyncio.sleep(notice)
    await runner.stop_listening()
    # A socket that does not answer the close frame is cut a moment later.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds - notice + CLOSE_SECONDS):
            await hub.drain(seconds - notice)
