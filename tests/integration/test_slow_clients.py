"""Clients that take their time: each is cut off when its patience ends, and none of them holds up another."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from vyry.settings.settings import Role, load_settings
from web.app import build_rest_app
from web.app_keys import Timeouts
from web.bodies import json_response, read_body
from web.connection import MAX_HEAD_BYTES, serve_app
from web.open_files import connection_capacity
from web.route import Route
from web.wire.shapes import Nothing


HASTE = Timeouts(request_head=0.5, body=0.5, stalled_write=0.5, linger=0.1)
HEAD = "Host: vyry\r\n"
ASKED = f"GET /quick HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n"
BEGUN, MAY_END, CUT = (web.AppKey(name, asyncio.Event) for name in ("begun", "may_end", "cut"))
Open = Callable[..., AbstractAsyncContextManager["Clients"]]


async def quick(_: web.Request) -> web.Response:
    return json_response(Nothing())


async def written(request: web.Request) -> web.Response:
    return json_response(await read_body(request, Nothing))


async def long(request: web.Request) -> web.Response:
    request.app[BEGUN].set()
    await request.app[MAY_END].wait()
    return json_response(Nothing())


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(bytes(1 << 20))
    except ConnectionError:
        request.app[CUT].set()
        raise


ROUTES = (
    Route(method="GET", path="/quick", operation="test.quick", handler=quick, summary="", auth="open"),
    Route(
        method="POST", path="/written", operation="test.written", handler=written, summary="", auth="open", body=Nothing
    ),
    Route(method="GET", path="/long", operation="test.long", handler=long, summary="", auth="open"),
    Route(method="GET", path="/endless", operation="test.endless", handler=endless, summary="", auth="open"),
)


class Clients:
    """Connections to one node."""

    def __init__(self, app: web.Application, port: int) -> None:
        self.app = app
        self.port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def dial(self, said: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection on which this was said."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        writer.write(said.encode())
        return reader, writer

    async def leave(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def ask(self, said: str = ASKED) -> str:
        """All that is answered, to the end of the connection."""
        reader, _ = await self.dial(said)
        return (await asyncio.wait_for(reader.read(), 5)).decode()

    async def drip(self, said: str, drops: str) -> str:
        """Send this, then ten characters within the node's timeout; returns what the node answers before it closes the connection."""
        reader, writer = await self.dial(said)
        heard = asyncio.ensure_future(_all(reader))
        for drop in drops:
            await asyncio.wait({heard}, timeout=HASTE.request_head / 10)
            if heard.done():
                return heard.result().decode()
            writer.write(drop.encode())
        raise AssertionError("The node waits for every drop.")


async def _all(reader: asyncio.StreamReader) -> bytes:
    heard = b""
    with suppress(ConnectionError):
        while more := await reader.read(1 << 16):
            heard += more
    return heard


@pytest.fixture
def open_node(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(patience: Timeouts = HASTE, **settings: str) -> AsyncIterator[Clients]:
        environment = {"VYRY_DATA_DIR": str(tmp_path), **settings}
        # None of these routes asks a service for anything.
        app = build_rest_app(load_settings(Role.START, environment), cast(Any, None), ROUTES, patience)
        app[BEGUN], app[MAY_END], app[CUT] = asyncio.Event(), asyncio.Event(), asyncio.Event()
        async with serve_app(app, "127.0.0.1", 0) as port:
            clients = Clients(app, port)
            try:
                yield clients
            finally:
                await clients.leave()

    return opened


async def test_who_asks_nothing_is_cut_off(open_node: Open) -> None:
    async with open_node() as clients:
        assert await clients.ask("") == ""


@pytest.mark.parametrize("whole", [0, 1, 20, 40])
async def test_a_head_that_drips_is_cut_off(open_node: Open, whole: int) -> None:
    head = f"GET /quick HTTP/1.1\r\n{HEAD}X: {'a' * 40}"
    async with open_node() as clients:
        assert await clients.drip(head[:whole], head[whole:]) == ""


async def test_the_second_head_drips_no_longer_than_the_first(open_node: Open) -> None:
    async with open_node() as clients:
        heard = await clients.drip(f"GET /quick HTTP/1.1\r\n{HEAD}\r\nGET /quick HTTP/1.1\r\nX: ", "a" * 40)

    assert heard.count("HTTP/1.1") == 1


async def test_a_body_that_drips_is_refused_and_the_connection_ends(open_node: Open) -> None:
    said = f"POST /written HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    async with open_node() as clients:
        heard = await clients.drip(said, " " * 40)

    assert heard.startswith("HTTP/1.1 400 ")
    assert "did not arrive in time" in heard


async def test_a_head_without_end_is_cut_off_at_once(open_node: Open) -> None:
    async with open_node(Timeouts()) as clients:
        reader, writer = await clients.dial(f"GET /quick HTTP/1.1\r\n{HEAD}")
        for at in range(40):
            writer.write(f"X-{at}: {'a' * 4000}\r\n".encode())
            # Somebody else is answered in between, so that one write is not read with the next.
            await clients.ask()

        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
    assert MAX_HEAD_BYTES < 40 * 4000


async def test_an_answer_that_nobody_takes_is_thrown_away(open_node: Open) -> None:
    async with open_node() as clients:
        with socket.create_connection(("127.0.0.1", clients.port), 5) as wire:
            wire.sendall(f"GET /endless HTTP/1.1\r\n{HEAD}\r\n".encode())

            await asyncio.wait_for(clients.app[CUT].wait(), 8)


async def test_a_request_that_takes_long_is_not_harmed(open_node: Open) -> None:
    async with open_node() as clients:
        reader, _ = await clients.dial(f"GET /long HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n")
        await clients.app[BEGUN].wait()
        # By now the patience for a head has ended, and for what came at the same time too.
        await clients.ask("")
        await clients.ask("")
        clients.app[MAY_END].set()

        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


async def test_slow_clients_do_not_hold_up_others(open_node: Open) -> None:
    said = f"POST /written HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    async with open_node(Timeouts()) as clients:
        slow = [await clients.dial(each) for each in ("", "GET /qu", f"GET /quick HTTP/1.1\r\n{HEAD}X", said) * 50]

        answers = [await clients.ask() for _ in range(20)]

    assert len(slow) == 200
    assert {each.split()[1] for each in answers} == {"200"}


async def test_a_full_node_says_so_and_when_to_come_again(open_node: Open) -> None:
    async with open_node(Timeouts(linger=0.1), VYRY_MAX_CONNECTIONS="3", VYRY_ENV="development") as clients:
        held = [await clients.dial() for _ in range(3)]
        turned_away, silent = await clients.ask(), await clients.ask("")
        held[0][1].close()
        await held[0][1].wait_closed()
        let_in = await clients.ask()

    head, _, body = turned_away.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 503 ")
    seconds = json.loads(body)["retry_after_seconds"]
    assert f"\r\nRetry-After: {seconds}\r\n" in head
    assert "Server" not in head
    assert (json.loads(body)["error_code"], 5 <= seconds <= 10) == ("UNAVAILABLE", True)
    assert silent == ""
    assert let_in.startswith("HTTP/1.1 200 ")


async def test_what_comes_beyond_a_full_node_is_cut(open_node: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.connection.MAX_REJECTIONS", 1)
    async with open_node(Timeouts(), VYRY_MAX_CONNECTIONS="1") as clients:
        await clients.dial()
        await clients.dial()

        with suppress(ConnectionError):
            assert await clients.ask() == ""


def test_a_node_holds_no_more_connections_than_it_may_have_files() -> None:
    assert connection_capacity(10, 250) == 10
    assert 1_000 < connection_capacity(1 << 40, 250) < 1 << 40
