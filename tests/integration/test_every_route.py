"""What holds for every route of the table, whoever wrote it: the order of checks, the headers of answers, the documents."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import pytest_asyncio

from tests.support.api_conformance import assert_documented
from vyry import __version__
from vyry.settings.settings import Role, load_settings
from web.app import build_rest_app
from web.connection import serve_app
from web.route import Route
from web.routes import ROUTES


HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Content-Type": "application/json",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
CLOSED = [route for route in ROUTES if route.auth != "open"]
WITH_BODY = [route for route in ROUTES if route.auth == "open" and route.body is not None]


@pytest_asyncio.fixture
async def http(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    settings = load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path), "VYRY_ENV": "development"})
    # Nothing here gets past the door, so no service is asked.
    app = build_rest_app(settings, cast(Any, None), ROUTES)
    async with (
        serve_app(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def path_of(route: Route) -> str:
    return re.sub(r"\{\w+\}", "0198c2d4-7a00-7000-8000-000000000000", route.path)


async def assert_refused(answer: aiohttp.ClientResponse, route: Route, status: int, code: str) -> None:
    # An answer to HEAD has no body.
    body = await answer.json() if route.method != "HEAD" else {"error_code": code}
    assert (answer.status, body["error_code"]) == (status, code)
    assert body.get("request_id", answer.headers["X-Request-Id"]) == answer.headers["X-Request-Id"]
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "Server" not in answer.headers
    if route.method != "HEAD":
        assert_documented(route.method, path_of(route), status, body)


@pytest.mark.parametrize("route", CLOSED, ids=named)
async def test_without_a_token_nothing_else_is_looked_at(http: aiohttp.ClientSession, route: Route) -> None:
    async with http.request(route.method, f"{path_of(route)}?strange=1", data=b"x" * 300_000) as answer:
        await assert_refused(answer, route, 401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", CLOSED, ids=named)
async def test_a_token_in_the_url_is_none(http: aiohttp.ClientSession, route: Route) -> None:
    async with http.request(route.method, f"{path_of(route)}?access_token=x&token=x") as answer:
        await assert_refused(answer, route, 401, "UNAUTHORIZED")


@pytest.mark.parametrize("route", WITH_BODY, ids=named)
async def test_size_comes_before_media_type_and_that_before_the_body(http: aiohttp.ClientSession, route: Route) -> None:
    async with http.request(route.method, path_of(route), data=b"x" * (route.body_limit + 1)) as answer:
        await assert_refused(answer, route, 413, "PAYLOAD_TOO_LARGE")
    async with http.request(route.method, path_of(route), data=b"x") as answer:
        await assert_refused(answer, route, 415, "UNSUPPORTED_MEDIA_TYPE")
    async with http.request(
        route.method, path_of(route), data=b"x", headers={"Content-Type": "application/json"}
    ) as answer:
        await assert_refused(answer, route, 400, "INVALID_REQUEST")
    async with http.request(route.method, path_of(route), json={"strange": 1}) as answer:
        await assert_refused(answer, route, 400, "INVALID_REQUEST")


@pytest.mark.parametrize("route", ROUTES, ids=named)
async def test_a_method_nobody_knows_is_refused(http: aiohttp.ClientSession, route: Route) -> None:
    async with http.request("PROPFIND", path_of(route)) as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (405, "METHOD_NOT_ALLOWED")
        assert route.method in answer.headers["Allow"]


async def test_health_is_exact_and_asks_nobody(http: aiohttp.ClientSession) -> None:
    async with http.get("/health") as answer:
        assert answer.status == 200
        assert await answer.text() == f'{{"status":"ok","service":"vyry-api","version":"{__version__}"}}'


async def test_the_documents_are_served(http: aiohttp.ClientSession) -> None:
    for path, beginning in (
        ("/openapi.json", '{"openapi":"3.1.0"'),
        ("/asyncapi.json", '{"asyncapi":"3.0.0"'),
        ("/docs", "<!doctype html>"),
    ):
        async with http.get(path) as answer:
            assert answer.status == 200
            assert (await answer.text()).startswith(beginning)


async def test_the_docs_page_alone_has_a_policy_of_its_own(http: aiohttp.ClientSession) -> None:
    async with http.get("/docs") as answer:
        assert answer.content_type == "text/html"
        assert "script-src 'sha256-" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


async def test_any_origin_may_call_in_development(http: aiohttp.ClientSession) -> None:
    async with http.get("/health", headers={"Origin": "http://localhost:5173"}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
        assert "Access-Control-Allow-Credentials" not in answer.headers
