"""The headers that every answer carries, whatever it is; and which pages of which origins may use the node."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import pytest_asyncio

from scripts.nodes import AllInOneProcess
from tests.support.raw_websocket import RawSocket, upgrade_request
from tests.support.rest_device import NodeClient
from vyry.settings.settings import Role, load_settings
from web.app import build_rest_app
from web.connection import serve_app
from web.route import Route
from web.routes import ROUTES


# One node for the whole table.
pytestmark = pytest.mark.asyncio(loop_scope="module")
SECURE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}
#: What else an answer may carry, by what it is.
OTHERS = {"X-Request-Id", "Date", "Content-Type", "Content-Length", "Connection", "Www-Authenticate", "Allow"}
PAGE = "https://chat.example.org"
#: Whether a page from there may use a node in production that names PAGE.
ORIGINS = {
    PAGE: True,
    "http://OWN": True,
    "http://chat.example.org": False,
    "https://chat.example.org:8443": False,
    "https://chat.example.org.evil.net": False,
    "https://evilchat.example.org": False,
    "https://sub.chat.example.org": False,
    "https://chat.example.org/": False,
    "https://chat.example.org@evil.net": False,
    "https://chat.example.org https://evil.net": False,
    "HTTPS://CHAT.EXAMPLE.ORG": False,
    "http://OWN.evil.net": False,
    "https://evil.net": False,
    "null": False,
    "*": False,
    "": False,
}


class RawServerClient:
    """A node in front of no services: whatever would ask one answers 500."""

    def __init__(self, http: aiohttp.ClientSession, port: int) -> None:
        self.http = http
        self.port = port

    async def say(self, method: str, path: str, **headers: str) -> aiohttp.ClientResponse:
        """One request; OWN in a header is the node's own address."""
        sent = {name.replace("_", "-"): text.replace("OWN", f"127.0.0.1:{self.port}") for name, text in headers.items()}
        async with self.http.request(method, f"http://127.0.0.1:{self.port}{path}", headers=sent) as answer:
            await answer.read()
        return answer


async def serving(folder: Path, **environment: str) -> AsyncIterator[RawServerClient]:
    settings = load_settings(Role.START, {"VYRY_DATA_DIR": str(folder), **environment})
    app = build_rest_app(settings, cast(Any, None), ROUTES)
    async with serve_app(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as http:
        yield RawServerClient(http, port)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def production(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RawServerClient]:
    environment = {
        "VYRY_ENV": "production",
        "VYRY_SMS": "webhook:https://sms.example.org",
        "JWT_SECRET": "fE9q-7Lk2mZx0Vw5Tn8Rb3Yc6Hd1Gs4Ja",
        "VYRY_CORS_ORIGINS": PAGE,
    }
    async for door in serving(tmp_path_factory.mktemp("production"), **environment):
        yield door


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def development(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RawServerClient]:
    async for door in serving(tmp_path_factory.mktemp("development"), VYRY_ENV="development"):
        yield door


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def path_of(route: Route) -> str:
    return re.sub(r"\{\w+\}", "0198c2d4-7a00-7000-8000-000000000000", route.path)


def assert_secure(answer: aiohttp.ClientResponse, *more: str) -> None:
    """Exactly the headers that every answer has. Pages set their own content policy and may be cached."""
    headers = {name.title(): value for name, value in answer.headers.items() if name.title() not in OTHERS.union(more)}
    headers = {name: value for name, value in headers.items() if not name.startswith("Tus-")}
    is_page = answer.content_type == "text/html"
    if is_page:
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers | ({"Content-Security-Policy": SECURE["Content-Security-Policy"]} if is_page else {}) == SECURE
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Request-Id"])


@pytest.mark.parametrize("route", ROUTES, ids=named)
async def test_every_route_answers_with_the_headers_of_the_house(production: RawServerClient, route: Route) -> None:
    assert_secure(await production.say(route.method, path_of(route)))
    assert_secure(await production.say(route.method, path_of(route), Authorization="Basic YTpi"))
    assert_secure(await production.say(route.method, f"{path_of(route)}?strange=1"))
    assert_secure(await production.say("PROPFIND", path_of(route)))


@pytest.mark.parametrize("route", ROUTES, ids=named)
async def test_every_route_tells_trusted_pages_alone_that_they_may(production: RawServerClient, route: Route) -> None:
    cors = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Vary")

    trusted = await production.say(route.method, path_of(route), Origin=PAGE)
    strange = await production.say(route.method, path_of(route), Origin="https://evil.net")

    assert_secure(trusted, *cors)
    assert trusted.headers["Access-Control-Allow-Origin"] == PAGE
    assert trusted.headers["Vary"] == "Origin"
    assert_secure(strange)


@pytest.mark.parametrize("route", ROUTES, ids=named)
async def test_every_route_lets_trusted_pages_alone_ask_before(production: RawServerClient, route: Route) -> None:
    asked = {"Access_Control_Request_Method": route.method, "Access_Control_Request_Headers": "authorization"}

    trusted = await production.say("OPTIONS", path_of(route), Origin=PAGE, **asked)
    strange = await production.say("OPTIONS", path_of(route), Origin="https://evil.net", **asked)

    assert (trusted.status, strange.status) == (204, 204)
    assert route.method in trusted.headers["Access-Control-Allow-Methods"].split(", ")
    assert "Authorization" in trusted.headers["Access-Control-Allow-Headers"].split(", ")
    assert "Access-Control-Allow-Credentials" not in trusted.headers
    assert_secure(strange)


@pytest.mark.parametrize("origin", ORIGINS)
async def test_an_origin_is_trusted_as_a_whole_or_not(production: RawServerClient, origin: str) -> None:
    answer = await production.say("GET", "/health", Origin=origin)

    allowed = answer.headers.get("Access-Control-Allow-Origin")
    assert allowed == (origin.replace("OWN", f"127.0.0.1:{production.port}") if ORIGINS[origin] else None)


@pytest.mark.parametrize("origin", ORIGINS)
async def test_a_strange_page_opens_no_socket(production: RawServerClient, origin: str) -> None:
    # Who may is asked for a token next, so 401 is past the check.
    answer = await production.say("GET", "/api/v1/ws", Origin=origin, Cookie="session=1")

    assert answer.status == (401 if ORIGINS[origin] else 403)
    assert_secure(answer, "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Vary")


async def test_two_origins_are_none(production: RawServerClient) -> None:
    said = f"GET /api/v1/ws HTTP/1.1\r\nHost: vyry\r\nOrigin: {PAGE}\r\nOrigin: {PAGE}\r\n\r\n"
    raw = RawSocket(production.port)
    with closing(raw.wire):
        raw.wire.sendall(said.encode())

        assert (await asyncio.to_thread(raw.read_head)).startswith("HTTP/1.1 403 ")


@pytest.mark.parametrize("origin", [origin for origin in ORIGINS if origin])
async def test_in_development_any_page_may(development: RawServerClient, origin: str) -> None:
    answer = await development.say("GET", "/health", Origin=origin)

    assert answer.headers["Access-Control-Allow-Origin"] == origin.replace("OWN", f"127.0.0.1:{development.port}")
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize(
    "said", ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", f"GET / HTTP/1.1\r\nX: {'x' * 9000}\r\n\r\n"]
)
async def test_what_is_no_http_is_answered_with_the_headers_of_the_house(
    production: RawServerClient, said: str
) -> None:
    raw = RawSocket(production.port)
    with closing(raw.wire):
        raw.wire.sendall(said.encode())
        status, *lines = (await asyncio.to_thread(raw.read_head)).split("\r\n")

    headers = dict(line.split(": ", 1) for line in lines)
    assert " 400 " in status
    assert {name: value for name, value in headers.items() if name not in OTHERS} == SECURE


async def test_an_upgrade_carries_them_too() -> None:
    with AllInOneProcess() as alone:
        async with aiohttp.ClientSession() as http:
            device = await NodeClient(http, alone.url, alone.otp_file).sign_up(with_keys=False)
        raw = RawSocket(alone.port)
        with closing(raw.wire):
            raw.wire.sendall(upgrade_request(alone.port, device.token))
            status, *lines = raw.read_head().split("\r\n")

    headers = dict(line.split(": ", 1) for line in lines)
    assert " 101 " in status
    assert {name: headers.get(name) for name in SECURE} == SECURE | {"Strict-Transport-Security": None}
    assert "Server" not in headers
