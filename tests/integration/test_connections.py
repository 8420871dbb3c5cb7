"""How many connections one address may hold: those of others find room whatever it does."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from vyry.settings.settings import Role, load_settings
from web.app import build_rest_app
from web.app_keys import Timeouts
from web.bodies import json_response
from web.connection import BoundedServer, ConnectionQuota, serve_app
from web.route import Route
from web.wire.shapes import Nothing


ASKED = b"GET /quick HTTP/1.1\r\nHost: vyry\r\nConnection: close\r\n\r\n"
Open = Callable[..., AbstractAsyncContextManager["Clients"]]


async def quick(_: web.Request) -> web.Response:
    return json_response(Nothing())


ROUTES = (Route(method="GET", path="/quick", operation="test.quick", handler=quick, summary="", auth="open"),)


class Clients:
    """Connections from addresses of the loopback network."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writers: list[asyncio.StreamWriter] = []

    async def dial(self, address: str) -> asyncio.StreamReader:
        """A connection from there that says nothing."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self.writers.append(writer)
        return reader

    async def ask(self, address: str) -> str:
        """What a whole request from there is answered."""
        reader = await self.dial(address)
        self.writers[-1].write(ASKED)
        return (await asyncio.wait_for(reader.read(), 10)).decode()


@pytest.fixture
def open_node(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(**settings: str) -> AsyncIterator[Clients]:
        environment = {"VYRY_DATA_DIR": str(tmp_path), "VYRY_ENV": "development", **settings}
        app = build_rest_app(load_settings(Role.START, environment), cast(Any, None), ROUTES, Timeouts(linger=0.1))
        async with serve_app(app, "127.0.0.1", 0) as port:
            clients = Clients(port)
            try:
                yield clients
            finally:
                for writer in clients.writers:
                    writer.close()

    return opened


async def test_one_address_cannot_take_all_connections(open_node: Open) -> None:
    async with open_node(VYRY_MAX_CONNECTIONS="8", VYRY_MAX_CONNECTIONS_ADDRESS="5") as clients:
        for _ in range(5):
            await clients.dial("127.0.0.2")
        refused, other = await clients.ask("127.0.0.2"), await clients.ask("127.0.0.3")
        clients.writers[0].close()
        await clients.writers[0].wait_closed()
        again = await clients.ask("127.0.0.2")

    head, _, body = refused.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 429 ")
    assert "\r\nRetry-After: 5\r\n" in head
    assert json.loads(body)["error_code"] == "RATE_LIMITED"
    assert other.startswith("HTTP/1.1 200 ")
    assert again.startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("setting", [{"VYRY_TRUSTED_PROXIES": "127.0.0.2/32"}, {"VYRY_LIMITS": "off"}])
async def test_a_trusted_proxy_and_a_node_without_limits_know_no_share(
    open_node: Open, setting: dict[str, str]
) -> None:
    async with open_node(VYRY_MAX_CONNECTIONS_ADDRESS="1", **setting) as clients:
        await clients.dial("127.0.0.2")

        assert (await clients.ask("127.0.0.2")).startswith("HTTP/1.1 200 ")


async def test_an_ipv6_network_counts_as_one() -> None:
    harness = ConnectionQuota(100, 2, (ip_network("2001:db8:1::/64"),))
    server = BoundedServer(Timeouts(), harness, {}, handler=cast(Any, quick))

    beyond = [server.add_connection(f"2001:db8::{host}") for host in range(4)]
    server.remove_connection("2001:db8::1")

    assert beyond == [-2, -1, 0, 1]
    assert server.add_connection("2001:db8::9") == 1
    assert server.add_connection("2001:db8:0:1::1") == -2
    assert {server.add_connection("2001:db8:1::1") for _ in range(9)} == {-1}


async def test_what_a_proxy_leaves_is_not_taken_from_its_neighbours() -> None:
    harness = ConnectionQuota(100, 2, (ip_network("2001:db8::1/128"),))
    server = BoundedServer(Timeouts(), harness, {}, handler=cast(Any, quick))
    assert server.add_connection("2001:db8::2") == -2

    server.add_connection("2001:db8::1")
    server.remove_connection("2001:db8::1")

    assert server.add_connection("2001:db8::2") == -1


async def test_what_has_left_is_not_remembered() -> None:
    server = BoundedServer(Timeouts(), ConnectionQuota(100, 2), {}, handler=cast(Any, quick))

    for host in range(200):
        server.add_connection(f"192.0.2.{host}")
        server.remove_connection(f"192.0.2.{host}")

    assert not server._connections_per_address
