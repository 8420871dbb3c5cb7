"""Who may read the operator's listener: requests for its own host, and from other machines those with the token.

The token comes as a bearer token, or from the form of the page; then a cookie derived from it takes its place. A URL never has it.
"""

import hmac
import socket
from collections.abc import Awaitable, Callable, Collection
from hashlib import sha256
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

from vyry.kernel.url_safety import is_loopback
from vyry.operator.admin_page import render_login


COOKIE: Final = "vyry_admin"
#: A load balancer needs no token to learn whether the process is ready.
_OPEN_PATHS: Final = ("/ready", "/page.css")
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware: TypeAlias = Callable[..., Awaitable[web.StreamResponse]]


def host_check_middleware(host: str) -> Middleware:
    """Serve requests whose Host is one of this machine's names or the address of the connection, and requests of HTTP/1.0 without Host.

    A web page whose name resolves to this server (DNS rebinding) sends its own name as Host and gets 421.
    """
    names: Collection[str] = {host, "localhost", socket.gethostname()}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        address = request.get_extra_info("sockname", [""])[0]
        if "Host" in request.headers and urlsplit(f"//{request.host}").hostname not in {*names, address}:
            return web.Response(status=421, text="This listener answers requests for its own host only.\n")
        return await handler(request)

    return check


def token_middleware(host: str, token: str) -> Middleware:
    """With a token, require it for all but /ready. Without one, other machines get metrics and /ready, but no page."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token and (request.method, request.path) == ("POST", "/login"):
            return await _log_in(request, token)
        refusal = None
        if request.path not in _OPEN_PATHS:
            refusal = _refuse_without_token(request, token) if token else _refuse_other_machines(request, host)
        return await handler(request) if refusal is None else refusal

    return check


def _refuse_other_machines(request: web.Request, host: str) -> web.Response | None:
    if is_loopback(host) or request.path == "/metrics":
        return None
    return web.Response(
        status=403, text="This page needs a token: set VYRY_ADMIN_TOKEN_FILE, or VYRY_ADMIN_HOST=127.0.0.1.\n"
    )


def _refuse_without_token(request: web.Request, token: str) -> web.Response | None:
    if _has_token(request, token):
        return None
    if request.path == "/":
        return _login_page(is_refused=False)
    return web.Response(status=401, text="The token is missing or wrong.\n", headers={"WWW-Authenticate": "Bearer"})


def _has_token(request: web.Request, token: str) -> bool:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    is_bearer = kind.lower() == "bearer" and _is_equal(given.strip(), token)
    return is_bearer or _is_equal(request.cookies.get(COOKIE, ""), _cookie(token))


async def _log_in(request: web.Request, token: str) -> web.Response:
    given = (await request.post()).get("token")
    if not isinstance(given, str) or not _is_equal(given.strip(), token):
        return _login_page(is_refused=True)
    response = web.Response(status=303, headers={"Location": "./"})
    response.set_cookie(COOKIE, _cookie(token), httponly=True, samesite="Strict", path="/")
    return response


def _login_page(*, is_refused: bool) -> web.Response:
    return web.Response(status=401, text=render_login(is_refused=is_refused), content_type="text/html")


def _cookie(token: str) -> str:
    """Derived, so that a stolen cookie does not reveal the token."""
    return hmac.new(token.encode(), b"vyry operator's page", sha256).hexdigest()


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
