"""Around every handler: the checks in their order, the request id, the request cost, error responses and the headers of every response."""

import re
import time
from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp import HttpVersion11, web
from structlog.contextvars import bind_contextvars, reset_contextvars

from vyry import errors
from vyry.accounts.account import Caller
from vyry.kernel.ids import new_id
from vyry.limits import REQUESTS, Grant, Quota, exhausted_grants
from vyry.telemetry import REQUEST_ERRORS, REQUEST_SECONDS, log
from web.app_keys import CALLER, DRAINING, GRANTS, REQUEST_ID, ROUTE, SERVICES, SETTINGS
from web.auth import authenticate, authenticate_socket
from web.bodies import check_headers, read_body
from web.route import Handler, Route
from web.wire.errors import STATUS, encode_error_body, error_body, internal_error_body
from web.wire.shapes import Nothing


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
#: The logged status of a response whose client disconnected.
CLIENT_GONE: Final = 499
#: Base64 of 16 bytes.
_WEBSOCKET_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
_CORS_EXPOSED_HEADERS: Final = (
    "X-Request-Id, RateLimit, RateLimit-Policy, Retry-After, Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, "
    "Upload-Offset, Upload-Length, Upload-Expires, Accept-Ranges, Content-Range, Content-Length, ETag, Last-Modified"
)
_CORS_ALLOWED_HEADERS: Final = (
    "Authorization, Content-Type, X-Link-Secret, X-Vyry-Proof, Tus-Resumable, Upload-Length, Upload-Offset, Upload-Checksum, Upload-Metadata, "
    "Range, If-Range, If-None-Match, If-Modified-Since"
)


@web.middleware
async def request_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: gives the request an id, runs it, and turns every exception into a response."""
    request_id = request[REQUEST_ID] = str(new_id())
    started = time.perf_counter()
    tokens = bind_contextvars(request_id=request_id)
    try:
        response = await _run_handler(request, handler, request_id)
        if request.writer.output_size and not response.prepared:
            raise ConnectionError("The handler failed after the response had started.")
        offers_other_protocol = request.headers.get("Upgrade", "websocket").lower() != "websocket"
        if offers_other_protocol or request.app[DRAINING].is_set():
            # aiohttp 3.14 drops the bytes behind an offer of another protocol: the next request would be parsed from its middle.
            # A stopping node sends the next request of this connection to another node.
            response.force_close()
        _record_request(request, response.status, time.perf_counter() - started)
    finally:
        reset_contextvars(**tokens)
    return response


def _record_request(request: web.Request, status: int, seconds: float) -> None:
    """Count, time and log a finished request. An unknown method is no label: clients could invent any number."""
    path = _route_path(request)
    method = request[ROUTE].method if ROUTE in request else "-"
    # What an upgraded request takes is the life of its socket.
    if status != 101:
        REQUEST_SECONDS.observe(seconds, method, path)
    if status >= 400:
        REQUEST_ERRORS.labels(method, path, str(status)).inc()
    write_log = log.info if status >= 400 else log.debug
    write_log(
        "request_finished", method=request.method, route=path, status=status, milliseconds=round(seconds * 1000, 1)
    )


async def _run_handler(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except errors.VyryError as refusal:
        if isinstance(refusal, errors.RateLimited):
            request[GRANTS] = exhausted_grants(refusal)
        return error_response(refusal, request_id)
    except web.HTTPException as refusal:
        return _framework_error_response(request, refusal, request_id)
    except Exception as problem:  # noqa: BLE001  the log gets the exception, the client gets the request id
        return _unhandled_error_response(request, problem, request_id)


def _unhandled_error_response(request: web.Request, problem: Exception, request_id: str) -> web.Response:
    """The response to an unexpected exception. A failed write to a disconnected client is not logged as an error."""
    if isinstance(problem, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        return web.Response(status=CLIENT_GONE)
    log.exception("unhandled_error", route=_route_path(request))
    return internal_error_response(request_id)


def error_response(refusal: errors.VyryError, request_id: str) -> web.Response:
    """The response to an expected error: its status, its body, and Retry-After if the body has a time."""
    status = STATUS[type(refusal)]
    body = error_body(refusal, request_id)
    response = web.Response(body=encode_error_body(body), status=status, content_type="application/json")
    if "retry_after_seconds" in body and status in (429, 503):
        response.headers["Retry-After"] = str(body["retry_after_seconds"])
    if status == 416:
        response.headers["Content-Range"] = f"bytes */{body['length']}"
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def internal_error_response(request_id: str) -> web.Response:
    """The response to an unexpected exception: generic, with the request id of the log entry."""
    return web.Response(
        body=encode_error_body(internal_error_body(request_id)), status=500, content_type="application/json"
    )


def build_handler(route: Route) -> Handler:
    """The handler of `route` after the checks: preflight, Origin (403) and upgrade (400) of a socket, token (401), the route's precheck, size and media type (413, 415), body and query (400), request cost (429)."""

    async def enter(request: web.Request) -> web.StreamResponse:
        if _is_preflight(request):
            return _preflight_response(request, _methods(request))
        request[ROUTE] = route
        if route.auth == "socket":
            _check_origin(request)
            request[CALLER] = await authenticate_socket(request)
            _check_upgrade(request)
        elif route.auth == "token":
            request[CALLER] = await authenticate(request)
        await _check_request(request, route)
        if route.auth != "token" or not route.cost:
            return await route.handler(request)
        return await run_charged(request, route)

    return enter


async def _check_request(request: web.Request, route: Route) -> None:
    """The checks that need no body."""
    if route.precheck is not None:
        route.precheck(request)
    if request.body_exists or route.stream_media_type or (route.body is not None and not route.is_body_optional):
        check_headers(request)
    if route.body is None and not route.stream_media_type and request.body_exists:
        await read_body(request, Nothing)
    # Monitors add a query to the open routes to bypass caches.
    is_probed = route.auth == "open" and route.method == "GET"
    if route.query is None and request.query and not is_probed:
        raise errors.InvalidRequest("This route takes no query parameters.")


def security_headers(env: str) -> Mapping[str, str]:
    """The headers of every response, also of malformed HTTP and sockets."""
    return _PRODUCTION_HEADERS if env == "production" else SECURITY_HEADERS


async def add_common_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of every response (signal on_response_prepare, which runs for sockets and errors too)."""
    headers = response.headers
    headers.popall("Server", None)
    headers["X-Request-Id"] = request.get(REQUEST_ID) or str(new_id())
    if ROUTE in request:
        headers.update(request[ROUTE].fixed_headers)
    for name, value in security_headers(request.app[SETTINGS].env).items():
        headers.setdefault(name, value)
    if is_trusted_origin(request):
        headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        headers["Access-Control-Expose-Headers"] = _CORS_EXPOSED_HEADERS
        headers["Vary"] = "Origin"
    if grants := request.get(GRANTS):
        headers["RateLimit-Policy"] = ", ".join(
            f'"{name}";q={grant.limit}{_window_parameter(grant)}' for name, grant in grants
        )
        headers["RateLimit"] = ", ".join(
            f'"{name}";r={grant.remaining};t={grant.reset_seconds}' for name, grant in grants
        )


def _window_parameter(grant: Grant) -> str:
    """The window of a RateLimit-Policy; a concurrency limit has none."""
    return f";w={grant.window}" if grant.window else ""


def is_trusted_origin(request: web.Request) -> bool:
    """Whether a page of this Origin may use the node: its own host, the configured origins, any in development. False without Origin."""
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    settings = request.app[SETTINGS]
    is_own = origin.partition("://")[2] == request.host
    return is_own or settings.env == "development" or origin in settings.cors_origins


def _check_origin(request: web.Request) -> None:
    """Raise Forbidden for a page of an untrusted origin: it must not open a socket for its visitor."""
    if "Origin" in request.headers and (len(request.headers.getall("Origin")) > 1 or not is_trusted_origin(request)):
        raise errors.Forbidden


def _check_upgrade(request: web.Request) -> None:
    """Require version 13, one valid key and no body (RFC 6455, 4.2.1): aiohttp 3.14 accepts versions 7 and 8 too, and keys that are not base64."""
    versions, keys = (request.headers.getall(f"Sec-WebSocket-{name}", []) for name in ("Version", "Key"))
    if (
        request.body_exists
        or request.version < HttpVersion11
        or versions != ["13"]
        or len(keys) != 1
        or not _WEBSOCKET_KEY.fullmatch(keys[0])
    ):
        raise errors.InvalidRequest("Not a valid WebSocket upgrade (RFC 6455, version 13).")


def _framework_error_response(request: web.Request, refusal: web.HTTPException, request_id: str) -> web.Response:
    """The response to an error of aiohttp: unknown path, wrong method, invalid upgrade."""
    if isinstance(refusal, web.HTTPMethodNotAllowed):
        return _method_not_allowed_response(request, refusal, request_id)
    if isinstance(refusal, web.HTTPNotFound):
        return error_response(errors.NotFound(), request_id)
    return error_response(errors.InvalidRequest(), request_id)


def _method_not_allowed_response(
    request: web.Request, refusal: web.HTTPMethodNotAllowed, request_id: str
) -> web.Response:
    """405 with the allowed methods; or the response to a preflight."""
    if not _is_preflight(request):
        response = error_response(errors.MethodNotAllowed(), request_id)
        response.headers["Allow"] = refusal.headers["Allow"]
        return response
    return _preflight_response(request, refusal.allowed_methods)


def _is_preflight(request: web.Request) -> bool:
    """Whether the request is a CORS preflight."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def _preflight_response(request: web.Request, methods: Iterable[str]) -> web.Response:
    response = web.Response(status=204)
    if is_trusted_origin(request):
        response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(methods))
        response.headers["Access-Control-Allow-Headers"] = _CORS_ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = "600"
    return response


def _methods(request: web.Request) -> set[str]:
    """The methods of all routes with this path."""
    resource = request.match_info.route.resource
    routes = request.app.router.routes()
    return {
        each.method for each in routes if resource and each.resource and each.resource.canonical == resource.canonical
    }


def _route_path(request: web.Request) -> str:
    """The path of the route table: never the requested one, which may contain secrets."""
    route = request.get(ROUTE)
    return route.path if route else "-"


async def run_charged(request: web.Request, route: Route) -> web.StreamResponse:
    """Run the handler and charge its response to the caller's request quota. Raises RateLimited before the handler runs when the quota is used up.

    An estimate is charged first, so that concurrent requests of a costly route cannot exceed the quota.
    """
    quota, buckets = route.shared_quota, request.app[SERVICES].buckets
    subject = _subject(request[CALLER], quota)
    # A setting may make the bucket smaller than the estimate.
    estimate = min(route.cost, buckets.peek(quota, subject).limit)
    buckets.consume(subject, (quota, estimate))
    charged = request[GRANTS] = _remaining_grants(request, quota, subject)
    response = await route.handler(request)
    cost = response_cost(response, route)
    if cost != estimate:
        buckets.charge(subject, quota, cost - estimate)
        if request[GRANTS] is charged:
            request[GRANTS] = _remaining_grants(request, quota, subject)
    return response


def response_cost(response: web.StreamResponse, route: Route) -> int:
    """The cost of this response. A streamed response (attachment, export) costs one unit: its own quotas limit it."""
    body = response.body if isinstance(response, web.Response) else None
    length = len(body) if isinstance(body, bytes) else 0
    return 1 + length // route.bytes_per_cost


def _remaining_grants(request: web.Request, quota: Quota, subject: str) -> list[tuple[str, Grant]]:
    return [(quota.name, request.app[SERVICES].buckets.peek(quota, subject))]


def _subject(caller: Caller, quota: Quota) -> str:
    return str(caller.user_id if quota.name == REQUESTS.name else caller.device)
