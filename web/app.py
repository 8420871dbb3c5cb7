"""The aiohttp application: every route of the table behind its checks, and the socket hub."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from web import asyncapi, openapi, pages
from web.app_keys import DOCUMENTS, DRAINING, SERVICES, SETTINGS, SOCKET_HUB, TIMEOUTS, Document, Timeouts
from web.live.hub import SOCKET_TIMEOUTS, SocketHub, SocketTimeouts
from web.middlewares import add_common_headers, build_handler, request_middleware
from web.route import BODY_LIMIT, Route
from web.routes import ROUTES
from web.wire.frames import FRAMES


if TYPE_CHECKING:
    from vyry.composition.services import Services
    from vyry.settings.settings import Settings


#: An id parameter matches ids only: GET /keys/prekeys is not GET /keys/{userId}, and PATCH /devices/links is not PATCH /devices/{deviceId}.
_ID: Final = re.compile(r"\{(\w+Id)\}")
_ID_ONLY: Final = r"{\1:[0-9A-Fa-f-]{36}}"
_NUMBER_ONLY: Final = "{deviceId:(?!links$)[^/]+}"


def build_app(
    settings: "Settings",
    services: "Services",
    socket_timeouts: SocketTimeouts = SOCKET_TIMEOUTS,
    timeouts: Timeouts | None = None,
) -> web.Application:
    """The application over open services; the caller closes them."""
    app = build_rest_app(settings, services, ROUTES, timeouts)
    app[SOCKET_HUB] = SocketHub(services, socket_timeouts)
    app.cleanup_ctx.append(_run_hub)
    return app


def build_rest_app(
    settings: "Settings", services: "Services", routes: Sequence[Route], timeouts: Timeouts | None = None
) -> web.Application:
    """An application with these routes and their checks, without sockets."""
    app = web.Application(middlewares=[request_middleware], client_max_size=BODY_LIMIT)
    app[SETTINGS] = settings
    app[SERVICES] = services
    app[TIMEOUTS] = timeouts or Timeouts()
    app[DRAINING] = asyncio.Event()
    app[DOCUMENTS] = build_documents()
    app.on_response_prepare.append(add_common_headers)
    for route in routes:
        path = _ID.sub(_ID_ONLY, route.path.replace("{deviceId}", _NUMBER_ONLY))
        # Monitors request the open routes with HEAD: the response is that of GET without its body.
        methods = ("GET", "HEAD") if route.method == "GET" and route.auth == "open" else (route.method,)
        for method in methods:
            app.router.add_route(method, path, build_handler(route), expect_handler=_defer_continue)
    return app


async def _run_hub(app: web.Application) -> AsyncIterator[None]:
    async with app[SOCKET_HUB].run_loops():
        yield


def build_documents() -> Mapping[str, Document]:
    """OpenAPI, AsyncAPI and the docs page, built from the tables of routes and frames."""
    rest, frames = openapi.build_openapi(ROUTES), asyncapi.build_asyncapi(FRAMES)
    return {
        "openapi": Document(orjson.dumps(rest), "application/json"),
        "asyncapi": Document(orjson.dumps(frames), "application/json"),
        "docs": Document(pages.docs_page(rest, frames).encode(), "text/html", pages.content_security_policy()),
    }


async def _defer_continue(_: web.Request) -> None:
    """Send no `100 Continue` yet: `send_continue` does when the body is read, after token and size were checked."""
