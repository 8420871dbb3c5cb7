"""The HTTP server for the operator: metrics, readiness and the page, by default on the loopback interface, never on the public port."""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

from aiohttp import ClientConnectionResetError, web
from prometheus_client import CONTENT_TYPE_LATEST

from vyry.errors import Unavailable
from vyry.operator.admin_access import host_check_middleware, token_middleware
from vyry.operator.admin_page import CONTENT_SECURITY_POLICY, SCRIPT, STYLE, render_event, render_mailbox, render_page
from vyry.operator.cluster_rows import ClusterRows, cluster_rows
from vyry.operator.cluster_watch import ClusterWatch
from vyry.operator.health import Health
from vyry.operator.saturation import Saturation, timed_event_loop
from vyry.telemetry import log, render_metrics


#: How many ports a process tries: each process of a host needs its own.
_TRIES: Final = 64
#: Pages that are open at the same time; one more gets 503 for its events, and refreshes itself without them.
MAX_STREAMS: Final = 32
EVENT_SECONDS: Final = 1.0
#: The form of the page sends one token.
_BODY_LIMIT: Final = 4096
_MAX_NAME: Final = 128
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


Explain: TypeAlias = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSources:
    """What the listener shows of its process. Without `cluster` the page has no rows, without `explain` it explains no mailbox."""

    health: Health
    saturation: Saturation | None = None
    cluster: ClusterWatch | None = None
    #: Explains the mailbox of the device with this name, for people.
    explain: Explain | None = None


@asynccontextmanager
async def serve_admin(host: str, port: int, sources: AdminSources, token: str = "") -> AsyncIterator[int]:
    """Serve metrics, `/ready` and the page while the block lasts; yields the port, the configured one or the next free one."""
    app = web.Application(
        middlewares=[host_check_middleware(host), token_middleware(host, token)], client_max_size=_BODY_LIMIT
    )
    app.on_response_prepare.append(_set_headers)
    app.router.add_routes(_AdminRoutes(sources).table())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        taken = await _bind_free_port(runner, host, port)
        log.info("admin_server_listening", host=host, port=taken)
        with timed_event_loop():
            yield taken
    finally:
        await runner.cleanup()


class _AdminRoutes:
    def __init__(self, sources: AdminSources) -> None:
        self._sources = sources
        self._streams = 0

    def table(self) -> list[web.RouteDef]:
        async def style(_: web.Request) -> web.Response:
            return web.Response(text=STYLE, content_type="text/css")

        async def script(_: web.Request) -> web.Response:
            return web.Response(text=SCRIPT, content_type="text/javascript")

        return [
            web.get("/metrics", self._metrics),
            web.get("/ready", self._ready),
            web.get("/", self._page),
            web.get("/events", self._events, allow_head=False),
            web.post("/mailbox", self._mailbox),
            web.get("/page.css", style),
            web.get("/page.js", script),
        ]

    async def _metrics(self, _: web.Request) -> web.Response:
        await self._sources.health.check()
        if self._sources.saturation is not None:
            await self._sources.saturation.measure()
        if self._sources.cluster is not None:
            await self._sources.cluster.measure()
        # Hundreds of routes take tens of milliseconds, which sockets must not wait for.
        text = await asyncio.to_thread(render_metrics)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _ready(self, _: web.Request) -> web.Response:
        found = await self._sources.health.check()
        is_ready = all(each.is_up for each in found if each.is_needed)
        return web.json_response([asdict(each) for each in found], status=200 if is_ready else 503)

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(
            text=render_page(await self._rows(), explains=self._sources.explain is not None), content_type="text/html"
        )

    async def _mailbox(self, request: web.Request) -> web.Response:
        """A form sends the name of the device in the body: it may be a phone number, and URLs are kept by browsers and proxies."""
        device = (await request.post()).get("device")
        if self._sources.explain is None or not isinstance(device, str) or not device.strip():
            return web.Response(status=400, text="The form has no device.\n")
        try:
            text = await self._sources.explain(device.strip()[:_MAX_NAME])
        except Unavailable:
            text = "The database is unavailable."
        return web.Response(text=render_mailbox(text), content_type="text/html")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._streams >= MAX_STREAMS:
            return web.Response(status=503, text="Too many pages are open.\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._streams += 1
        try:
            await response.prepare(request)
            while True:
                await response.write(render_event(await self._rows()))
                await asyncio.sleep(EVENT_SECONDS)
        except ClientConnectionResetError:
            return response
        finally:
            self._streams -= 1

    async def _rows(self) -> ClusterRows | None:
        if self._sources.cluster is None:
            return ClusterRows("This process shows no partitions.", (), ())
        try:
            return cluster_rows(await self._sources.cluster.read())
        except Unavailable:
            return None


async def _set_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


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
