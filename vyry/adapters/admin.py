"""The operator's listener: metrics and readiness, on loopback unless told otherwise, never on the public one."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from vyry.adapters.health import Health
from vyry.telemetry import log, render_metrics


#: How many ports further a process looks: each has a listener of its own, and several may live on one host.
_TRIES = 64


@asynccontextmanager
async def admin_listening(host: str, port: int, health: Health) -> AsyncIterator[int]:
    """Answer `GET /metrics` and `GET /ready` while the block lasts; yields the port: the one asked for, or the next free one."""

    async def metrics(_: web.Request) -> web.Response:
        await health.check()
        return web.Response(body=render_metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def ready(_: web.Request) -> web.Response:
        found = await health.check()
        is_ready = all(each.is_up for each in found if each.is_needed)
        return web.json_response([asdict(each) for each in found], status=200 if is_ready else 503)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/ready", ready)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        taken = await _listen(runner, host, port)
        log.info("metrics", host=host, port=taken)
        yield taken
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> int:
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
