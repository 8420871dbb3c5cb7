"""The HTTP server for the operator: metrics and readiness, by default on the loopback interface, never on the public port."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from vyry.operator.health import Health
from vyry.operator.saturation import Saturation, watch_loop_lag
from vyry.telemetry import log, render_metrics


#: How many ports a process tries: each process of a host needs its own.
_TRIES: Final = 64
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve_admin(
    host: str, port: int, health: Health, *, saturation: Saturation | None = None
) -> AsyncIterator[int]:
    """Serve `GET /metrics` and `GET /ready` while the block lasts; yields the port, the configured one or the next free one."""

    async def metrics(_: web.Request) -> web.Response:
        await health.check()
        if saturation is not None:
            await saturation.measure()
        return web.Response(body=render_metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def ready(_: web.Request) -> web.Response:
        found = await health.check()
        is_ready = all(each.is_up for each in found if each.is_needed)
        return web.json_response([asdict(each) for each in found], status=200 if is_ready else 503)

    app = web.Application(middlewares=[_host_check_middleware({host, "localhost", socket.gethostname()})])
    app.on_response_prepare.append(_drop_server_header)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/ready", ready)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        async with asyncio.TaskGroup() as tasks:
            timing = tasks.create_task(watch_loop_lag())
            taken = await _bind_free_port(runner, host, port)
            log.info("admin_server_listening", host=host, port=taken)
            yield taken
            timing.cancel()
    finally:
        await runner.cleanup()


def _host_check_middleware(names: Collection[str]) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Serve requests whose Host is one of these names or the address of the connection, and requests of HTTP/1.0 without Host.

    A web page whose name resolves to this server (DNS rebinding) sends its own name as Host and gets 421.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        address = request.get_extra_info("sockname", [""])[0]
        if "Host" in request.headers and urlsplit(f"//{request.host}").hostname not in {*names, address}:
            return web.Response(status=421, text="This listener answers requests for its own host only.\n")
        return await handler(request)

    return check


async def _drop_server_header(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)


async def _bind_free_port(runner: web.AppRunner, host: str, port: int) -> int:
    for candidate in range(port, min(port + _TRIES, 65536)):
        try:
            await web.TCPSite(runner, host, candidate).start()
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise
        else:
            taken: int = runner.addresses[0][1]
            return taken
    raise OSError(errno.EADDRINUSE, f"no free port from {port} on")
