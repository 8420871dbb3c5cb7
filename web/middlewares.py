"""Around every handler: the door with its order of checks, the request's id, refusals turned into error bodies, the headers of every answer."""

import re
import time
from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp import HttpVersion11, web
from structlog.contextvars import bound_contextvars

from vyry import errors
from vyry.ids import new_id
from vyry.limits import Grant, exhausted
from vyry.telemetry import log
from web.auth import by_token, by_token_or_ticket
from web.budget import paid
from web.errors import STATUS, as_json, error_body, internal_error_body
from web.keys import CALLER, GRANTS, REQUEST_ID, ROUTE, SETTINGS, Handler, Route
from web.wire.shapes import Nothing
from web.wire.strict import check_headers, read


SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_PRODUCTION_HEADERS: Final = {
    **SECURITY_HEADERS,
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
}
#: Stands in the log for an answer that the client did not wait for.
CLIENT_GONE: Final = 499
#: 16 bytes as base64.
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
_EXPOSED: Final = (
    "X-Request-Id, RateLimit, RateLimit-Policy, Retry-After, Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, "
    "Upload-Offset, Upload-Length, Upload-Expires, Accept-Ranges, Content-Range, Content-Length, ETag, Last-Modified"
)
_ALLOWED: Final = (
    "Authorization, Content-Type, X-Link-Secret, X-Vyry-Proof, Tus-Resumable, Upload-Length, Upload-Offset, Upload-Checksum, Upload-Metadata, "
    "Range, If-Range, If-None-Match, If-Modified-Since"
)


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, run it, and turn whatever it raises into an answer. The outermost middleware."""
    request_id = request[REQUEST_ID] = str(new_id())
    started = time.perf_counter()
    with bound_contextvars(request_id=request_id):
        response = await _outcome(request, handler, request_id)
        if request.writer.output_size and not response.prepared:
            raise ConnectionError("An answer was under way when the handler failed.")
        if request.headers.get("Upgrade", "websocket").lower() != "websocket":
            # aiohttp 3.14 forgets what came behind an offer of another protocol: what comes next would be read from its middle.
            response.force_close()
        say = log.info if response.status >= 400 else log.debug
        say(
            "answered",
            method=request.method,
            route=_route_of(request),
            status=response.status,
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
        )
    return response


async def _outcome(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except errors.VyryError as refusal:
        if isinstance(refusal, errors.RateLimited):
            request[GRANTS] = exhausted(refusal)
        return refused(refusal, request_id)
    except web.HTTPException as refusal:
        return _framework_refused(request, refusal, request_id)
    except Exception as problem:  # noqa: BLE001  whatever it is: the log gets it all, the client gets its id
        return _failed(request, problem, request_id)


def _failed(request: web.Request, problem: Exception, request_id: str) -> web.Response:
    """The answer to an exception nobody expected. That nothing can be written to a client that is gone is no fault of the node."""
    if isinstance(problem, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        return web.Response(status=CLIENT_GONE)
    log.exception("broken", route=_route_of(request))
    return broken(request_id)


def refused(refusal: errors.VyryError, request_id: str) -> web.Response:
    """The answer to a refusal: its status, its body, and Retry-After where the body names a time."""
    status = STATUS[type(refusal)]
    body = error_body(refusal, request_id)
    answer = web.Response(body=as_json(body), status=status, content_type="application/json")
    if "retry_after_seconds" in body and status in (429, 503):
        answer.headers["Retry-After"] = str(body["retry_after_seconds"])
    if status == 416:
        answer.headers["Content-Range"] = f"bytes */{body['length']}"
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def broken(request_id: str) -> web.Response:
    """The answer to a fault of ours: generic, with the id that stands in the log."""
    return web.Response(body=as_json(internal_error_body(request_id)), status=500, content_type="application/json")


def guarded(route: Route) -> Handler:
    """The handler of `route` behind its door: token (401), size and media type (413, 415), query and needless body (400), rate (429)."""

    async def enter(request: web.Request) -> web.StreamResponse:
        if _asks_before(request):
            return _told_before(request, _methods(request))
        request[ROUTE] = route
        if route.auth == "socket":
            _check_origin(request)
            request[CALLER] = await by_token_or_ticket(request)
            _check_upgrade(request)
        elif route.auth == "token":
            request[CALLER] = await by_token(request)
        await _check_request(request, route)
        return await paid(request, route)

    return enter


async def _check_request(request: web.Request, route: Route) -> None:
    """What can be seen before the handler reads a body of the route's own."""
    if route.check is not None:
        route.check(request)
    if request.body_exists or route.stream or (route.body is not None and not route.is_body_optional):
        check_headers(request)
    if route.body is None and not route.stream and request.body_exists:
        await read(request, Nothing)
    # Monitors put a number behind the open routes, past caches.
    is_probed = route.auth == "open" and route.method == "GET"
    if route.query is None and request.query and not is_probed:
        raise errors.InvalidRequest("This route takes no query parameters.")


def security_headers(env: str) -> Mapping[str, str]:
    """Those that every answer of this node carries, bad HTTP and sockets included."""
    return _PRODUCTION_HEADERS if env == "production" else SECURITY_HEADERS


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers on that every answer carries (signal on_response_prepare: it sees sockets and errors too)."""
    headers = response.headers
    headers.popall("Server", None)
    headers["X-Request-Id"] = request.get(REQUEST_ID) or str(new_id())
    if ROUTE in request:
        headers.update(request[ROUTE].carries)
    for name, value in security_headers(request.app[SETTINGS].env).items():
        headers.setdefault(name, value)
    if is_trusted_origin(request):
        headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        headers["Vary"] = "Origin"
    if grants := request.get(GRANTS):
        headers["RateLimit-Policy"] = ", ".join(f'"{name}";q={grant.limit}{_over(grant)}' for name, grant in grants)
        headers["RateLimit"] = ", ".join(
            f'"{name}";r={grant.remaining};t={grant.reset_seconds}' for name, grant in grants
        )


def _over(grant: Grant) -> str:
    """The seconds of a policy; what holds at any one time has none."""
    return f";w={grant.window}" if grant.window else ""


def is_trusted_origin(request: web.Request) -> bool:
    """Whether a page of this Origin may use the node: its own pages, those of the settings, any in development. False without Origin."""
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    settings = request.app[SETTINGS]
    is_own = origin.partition("://")[2] == request.host
    return is_own or settings.env == "development" or origin in settings.cors_origins


def _check_origin(request: web.Request) -> None:
    """A page of a strange origin must not open a socket in its visitor's name."""
    if "Origin" in request.headers and (len(request.headers.getall("Origin")) > 1 or not is_trusted_origin(request)):
        raise errors.Forbidden


def _check_upgrade(request: web.Request) -> None:
    """Version 13, one well-formed key, no body (RFC 6455, 4.2.1): aiohttp 3.14 takes versions 7 and 8 too, and keys that are no base64."""
    versions, keys = (request.headers.getall(f"Sec-WebSocket-{name}", []) for name in ("Version", "Key"))
    if (
        request.body_exists
        or request.version < HttpVersion11
        or versions != ["13"]
        or len(keys) != 1
        or not _KEY.fullmatch(keys[0])
    ):
        raise errors.InvalidRequest("This is no upgrade to a WebSocket of version 13.")


def _framework_refused(request: web.Request, refusal: web.HTTPException, request_id: str) -> web.Response:
    """What aiohttp itself refuses: an unknown path, another method, an upgrade that is none."""
    if isinstance(refusal, web.HTTPMethodNotAllowed):
        return _other_method(request, refusal, request_id)
    if isinstance(refusal, web.HTTPNotFound):
        return refused(errors.NotFound(), request_id)
    return refused(errors.InvalidRequest(), request_id)


def _other_method(request: web.Request, refusal: web.HTTPMethodNotAllowed, request_id: str) -> web.Response:
    """405 with what is allowed; or, when a browser asks before it sends, which methods and headers a trusted page may use."""
    if not _asks_before(request):
        answer = refused(errors.MethodNotAllowed(), request_id)
        answer.headers["Allow"] = refusal.headers["Allow"]
        return answer
    return _told_before(request, refusal.allowed_methods)


def _asks_before(request: web.Request) -> bool:
    """Whether a browser asks what it may send."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def _told_before(request: web.Request, methods: Iterable[str]) -> web.Response:
    answer = web.Response(status=204)
    if is_trusted_origin(request):
        answer.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(methods))
        answer.headers["Access-Control-Allow-Headers"] = _ALLOWED
        answer.headers["Access-Control-Max-Age"] = "600"
    return answer


def _methods(request: web.Request) -> set[str]:
    """Those of all routes of this path."""
    asked = request.match_info.route.resource
    routes = request.app.router.routes()
    return {each.method for each in routes if asked and each.resource and each.resource.canonical == asked.canonical}


def _route_of(request: web.Request) -> str:
    """The path as the table writes it: never what the client typed, which may hold secrets."""
    route = request.get(ROUTE)
    return route.path if route else "-"
