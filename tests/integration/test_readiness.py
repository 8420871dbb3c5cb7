"""Whether a node takes work: /ready over a real database, while it stops, and what a production node says of itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from tests.support.api_conformance import assert_documented
from vyry.operator.health import Health
from vyry.settings.settings import Role, Settings, load_settings
from web.app import build_rest_app
from web.app_keys import DRAINING
from web.connection import serve_app
from web.routes import ROUTES


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path), "VYRY_CORS_ORIGINS": "https://chat.example.org"})


@asynccontextmanager
async def node(settings: Settings, database: str, *, is_stopping: bool = False) -> AsyncIterator[aiohttp.ClientSession]:
    app = build_rest_app(settings, cast(Any, SimpleNamespace(health=Health(database))), ROUTES)
    if is_stopping:
        app[DRAINING].set()
    async with (
        serve_app(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        yield http


async def ready(http: aiohttp.ClientSession) -> tuple[int, dict[str, Any]]:
    async with http.get("/ready") as answer:
        body = await answer.json()
        assert_documented("GET", "/ready", answer.status, body)
        assert (answer.headers.get("Retry-After") is not None) == (answer.status == 503)
        return answer.status, body


async def test_a_node_with_its_database_is_ready(settings: Settings, tmp_path: Path) -> None:
    async with node(settings, f"sqlite://{tmp_path / 'vyry.db'}") as http:
        status, body = await ready(http)

    assert status == 200
    assert body == {"status": "ready", "dependencies": [{"name": "database", "isUp": True, "problem": ""}]}


async def test_a_node_without_its_database_is_not_ready_and_says_why(settings: Settings) -> None:
    async with node(settings, "postgres://someone:secret@127.0.0.1:1/nowhere") as http:
        status, body = await ready(http)

    assert (status, body["error_code"]) == (503, "UNAVAILABLE")
    assert [(line["name"], line["isUp"]) for line in body["dependencies"]] == [("database", False)]
    assert "secret" not in str(body)
    assert "someone" not in str(body)


async def test_a_stopping_node_is_not_ready_but_alive(settings: Settings, tmp_path: Path) -> None:
    async with node(settings, f"sqlite://{tmp_path / 'vyry.db'}", is_stopping=True) as http:
        status, _ = await ready(http)
        async with http.get("/health") as answer:
            alive = answer.status

    assert (status, alive) == (503, 200)


async def test_in_production_only_listed_origins_may_call_and_browsers_stay_on_tls(settings: Settings) -> None:
    production = settings.model_copy(update={"env": "production"})

    async with node(production, "sqlite://") as http:
        async with http.get("/health", headers={"Origin": "https://evil.example.org"}) as strange:
            pass
        async with http.get("/health", headers={"Origin": "https://chat.example.org"}) as known:
            pass
        async with http.get(
            "/health", headers={"Origin": "https://node.example.org", "Host": "node.example.org"}
        ) as own:
            pass

    assert "Access-Control-Allow-Origin" not in strange.headers
    assert own.headers["Access-Control-Allow-Origin"] == "https://node.example.org"
    assert known.headers["Access-Control-Allow-Origin"] == "https://chat.example.org"
    assert known.headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains"


PROBES = {
    "head": "HEAD {} HTTP/1.1\r\nHost: node\r\n",
    "without a host": "GET {} HTTP/1.0\r\n",
    "past caches": "GET {}?_=1764518400&x HTTP/1.1\r\nHost: node\r\n",
    "whole address": "GET http://node{} HTTP/1.1\r\nHost: node\r\n",
    "with an empty body": "GET {} HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\n",
    "any type": "GET {} HTTP/1.1\r\nHost: node\r\nAccept: text/plain;q=0.9\r\nContent-Type: application/x-www-form-urlencoded\r\n",
}


@pytest.mark.parametrize("path", ["/health", "/ready"])
@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
async def test_probes_as_monitors_send_them_are_answered(
    settings: Settings, tmp_path: Path, probe: str, path: str
) -> None:
    async with node(settings, f"sqlite://{tmp_path / 'vyry.db'}") as http:
        assert http._base_url is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", http._base_url.port)
        writer.write(f"{probe.format(path)}Connection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

    assert head.split()[1] == b"200"
    assert bool(body) == (not probe.startswith("HEAD"))
