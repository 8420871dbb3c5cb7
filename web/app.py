"""The aiohttp application, its routes out of the one table, each behind its door; and the server that carries it."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import http_parser, web
from aiohttp.web_protocol import RequestHandler

from vyry.errors import InvalidRequest
from vyry.ids import new_id
from vyry.telemetry import log
from web import asyncapi, openapi, pages
from web.keys import BODY_LIMIT, DOCUMENTS, DRAINING, SERVICES, SETTINGS, SWITCHBOARD, Document, Route
from web.live.pace import PACE, Pace
from web.live.switchboard import Switchboard
from web.middlewares import SECURITY_HEADERS, answered, broken, dress, guarded, refused
from web.routes import ROUTES
from web.wire.frames import FRAMES


if TYPE_CHECKING:
    from vyry.bootstrap import Services
    from vyry.settings import Settings

HEADER_BYTES: Final = 8190
KEEPALIVE_SECONDS: Final = 15
LINGERING_SECONDS: Final = 2
#: How long requests under way may take once the node was told to stop.
SHUTDOWN_SECONDS: Final = 10
_BACKLOG: Final = 1024
#: A path with a word in the place of an id is another path: GET /keys/prekeys is not GET /keys/{userId}.
_ID: Final = re.compile(r"\{((?!deviceId)\w+Id)\}")
_ID_ONLY: Final = r"{\1:[0-9A-Fa-f-]{36}}"


def build_app(settings: "Settings", services: "Services", pace: Pace = PACE) -> web.Application:
    """The application over services that are open already and are closed by whoever opened them."""
    app = build_door(settings, services, ROUTES)
    app[SWITCHBOARD] = Switchboard(services, pace)
    app.cleanup_ctx.append(_switchboard)
    return app


def build_door(settings: "Settings", services: "Services", routes: Sequence[Route]) -> web.Application:
    """These routes behind the door, without sockets."""
    app = web.Application(middlewares=[answered], client_max_size=BODY_LIMIT)
    app[SETTINGS] = settings
    app[SERVICES] = services
    app[DRAINING] = asyncio.Event()
    app[DOCUMENTS] = documents()
    app.on_response_prepare.append(dress)
    for route in routes:
        app.router.add_route(route.method, _ID.sub(_ID_ONLY, route.path), guarded(route), expect_handler=_expect)
    return app


async def _switchboard(app: web.Application) -> AsyncIterator[None]:
    async with app[SWITCHBOARD].running():
        yield


def documents() -> Mapping[str, Document]:
    """What the node says about itself, made of its own tables."""
    rest, frames = openapi.describe(ROUTES), asyncapi.describe(FRAMES)
    return {
        "openapi": Document(orjson.dumps(rest), "application/json"),
        "asyncapi": Document(orjson.dumps(frames), "application/json"),
        "docs": Document(pages.docs_page(rest, frames).encode(), "text/html", pages.content_security_policy()),
    }


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int, *, reuse_port: bool = False) -> AsyncIterator[int]:
    """Serve `app` while the context is open; yields the port, which is a free one when 0 was asked for."""
    runner = DoorRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_port=reuse_port, backlog=_BACKLOG).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class DoorRunner(web.AppRunner):
    """Runs an application with the time and size limits of this house, over `Door` connections.

    A client that goes away never cancels its handler (aiohttp's default): a commit half done would have an unknown outcome.
    """

    def __init__(self, app: web.Application) -> None:
        if not http_parser.HttpRequestParser.__module__.endswith("._http_parser"):
            raise RuntimeError("aiohttp runs without its C parser, on whose strictness this node relies")
        super().__init__(
            app,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            auto_decompress=False,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Server(
            server.request_handler,
            request_factory=server.request_factory,
            loop=asyncio.get_running_loop(),
            debug=False,
            **self._kwargs,
        )


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return Door(self, loop=self._loop, **self._kwargs)


class Door(RequestHandler):
    """One connection. What is no HTTP, or fails outside of the middlewares, is answered in the error shape too."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  aiohttp's signature
    ) -> web.StreamResponse:
        """The answer to a request that never reached a handler; the connection ends with it."""
        if request.writer.output_size > 0:
            raise ConnectionError("The answer was under way when it failed.")
        request_id = str(new_id())
        if status < 500:
            answer = refused(InvalidRequest("This is not the HTTP that the node speaks."), request_id)
        else:
            log.error("broken", request_id=request_id, exc_info=exc)
            answer = broken(request_id)
        farewell = _Farewell(body=answer.body, status=answer.status, content_type="application/json")
        farewell.headers.update({**SECURITY_HEADERS, "X-Request-Id": request_id})
        farewell.force_close()
        return farewell


class _Farewell(web.Response):
    """aiohttp calls no signal for an answer to bad HTTP, so this one drops the Server header itself."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


async def _expect(_: web.Request) -> None:
    """Say nothing yet to `Expect: 100-continue`: the body is invited when it is read, after token and size were looked at."""
