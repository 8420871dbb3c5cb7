"""The aiohttp application, its routes out of the one table, each behind its door; and the server that carries it."""

import asyncio
import re
import resource
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import http_parser, web

from web import asyncapi, openapi, pages
from web.app_keys import (
    BODY_LIMIT,
    DOCUMENTS,
    DRAINING,
    SERVICES,
    SETTINGS,
    SOCKET_HUB,
    TIMEOUTS,
    Document,
    Route,
    Timeouts,
)
from web.connection import MAX_REJECTIONS, BoundedServer, ConnectionQuota
from web.live.hub import SocketHub
from web.live.timeouts import SOCKET_TIMEOUTS, SocketTimeouts
from web.middlewares import add_common_headers, build_handler, request_middleware, security_headers
from web.routes import ROUTES
from web.wire.frames import FRAMES


if TYPE_CHECKING:
    from vyry.composition.services import Services
    from vyry.settings import Settings

MAX_HEADER_BYTES: Final = 8190
MAX_HEADERS: Final = 99
#: How long requests under way may take once the node was told to stop.
SHUTDOWN_SECONDS: Final = 10
_BACKLOG: Final = 1024
#: Files of a process that are no connections of clients: pools, logs, and those that are told that it is full.
_RESERVED_FILES: Final = 150 + MAX_REJECTIONS
#: A path with a word in the place of an id is another path: GET /keys/prekeys is not GET /keys/{userId}, nor PATCH /devices/links PATCH /devices/{deviceId}.
_ID: Final = re.compile(r"\{(\w+Id)\}")
_ID_ONLY: Final = r"{\1:[0-9A-Fa-f-]{36}}"
_NUMBER_ONLY: Final = "{deviceId:(?!links$)[^/]+}"


def build_app(
    settings: "Settings",
    services: "Services",
    socket_timeouts: SocketTimeouts = SOCKET_TIMEOUTS,
    timeouts: Timeouts | None = None,
) -> web.Application:
    """The application over services that are open already and are closed by whoever opened them."""
    app = build_rest_app(settings, services, ROUTES, timeouts)
    app[SOCKET_HUB] = SocketHub(services, socket_timeouts)
    app.cleanup_ctx.append(_run_hub)
    return app


def build_rest_app(
    settings: "Settings", services: "Services", routes: Sequence[Route], timeouts: Timeouts | None = None
) -> web.Application:
    """These routes behind the door, without sockets."""
    app = web.Application(middlewares=[request_middleware], client_max_size=BODY_LIMIT)
    app[SETTINGS] = settings
    app[SERVICES] = services
    app[TIMEOUTS] = timeouts or Timeouts()
    app[DRAINING] = asyncio.Event()
    app[DOCUMENTS] = build_documents()
    app.on_response_prepare.append(add_common_headers)
    for route in routes:
        path = _ID.sub(_ID_ONLY, route.path.replace("{deviceId}", _NUMBER_ONLY))
        # Monitors ask the open routes by HEAD; what they get is the answer to GET without its body.
        methods = ("GET", "HEAD") if route.method == "GET" and route.auth == "open" else (route.method,)
        for method in methods:
            app.router.add_route(method, path, build_handler(route), expect_handler=_defer_continue)
    return app


async def _run_hub(app: web.Application) -> AsyncIterator[None]:
    async with app[SOCKET_HUB].run_loops():
        yield


def build_documents() -> Mapping[str, Document]:
    """What the node says about itself, made of its own tables."""
    rest, frames = openapi.build_openapi(ROUTES), asyncapi.build_asyncapi(FRAMES)
    return {
        "openapi": Document(orjson.dumps(rest), "application/json"),
        "asyncapi": Document(orjson.dumps(frames), "application/json"),
        "docs": Document(pages.docs_page(rest, frames).encode(), "text/html", pages.content_security_policy()),
    }


@asynccontextmanager
async def serve_app(
    app: web.Application,
    hosts: str | Sequence[str],
    port: int,
    *,
    reuse_port: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve `app` on these addresses, by TLS alone if it is given; yields the port, which is a free one when 0 was asked for (of one address)."""
    runner = BoundedRunner(app)
    await runner.setup()
    try:
        for host in (hosts,) if isinstance(hosts, str) else hosts:
            await _BoundedSite(runner, host, port, reuse_port=reuse_port, backlog=_BACKLOG, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class BoundedRunner(web.AppRunner):
    """Runs an application with the time and size limits of this house, over `Door` connections.

    A client that goes away never cancels its handler (aiohttp's default): a commit half done would have an unknown outcome.
    """

    def __init__(self, app: web.Application) -> None:
        if not http_parser.HttpRequestParser.__module__.endswith("._http_parser"):
            raise RuntimeError("aiohttp runs without its C parser, on whose strictness this node relies")
        self.timeouts = app.get(TIMEOUTS) or Timeouts()
        super().__init__(
            app,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
            access_log=None,
            keepalive_timeout=self.timeouts.request_head,
            lingering_time=self.timeouts.linger,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        settings = self.app[SETTINGS]
        return BoundedServer(
            self.timeouts,
            ConnectionQuota(
                connection_capacity(settings.max_connections),
                settings.max_connections_address if settings.limits == "on" else None,
                settings.trusted_proxies,
            ),
            security_headers(settings.env),
            handler=server.request_handler,
            request_factory=server.request_factory,
            loop=asyncio.get_running_loop(),
            debug=False,
            **self._kwargs,
        )


class _BoundedSite(web.TCPSite):
    """Gives a TLS handshake a time of its own: asyncio's would be a minute."""

    async def start(self) -> None:
        await web.BaseSite.start(self)
        server, runner = self._runner.server, self._runner
        assert server is not None
        assert isinstance(runner, BoundedRunner)
        self._server = await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=runner.timeouts.handshake if self._ssl_context else None,
            backlog=self._backlog,
            reuse_port=self._reuse_port,
        )


def connection_capacity(connections: int) -> int:
    """How many connections this process can hold: as many as are wanted, unless the system gives it fewer files. It asks for as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _RESERVED_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(connections, soft - _RESERVED_FILES))


async def _defer_continue(_: web.Request) -> None:
    """Say nothing yet to `Expect: 100-continue`: the body is invited when it is read, after token and size were looked at."""
