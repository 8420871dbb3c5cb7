"""The SDK reconnects when the node asks it to: at once or at its turn after a goodbye, and after the Retry-After of a refused upgrade."""

import asyncio
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgpack
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from vyry.client.store.mailbox_chain import MailboxPosition
from vyry.client.store.store import Store
from vyry.client.transport.connection import Connection, MailboxHandlers
from vyry.client.transport.live_signals import LiveSignals
from vyry.client.transport.rest import RestClient


class StoppingNode:
    """A node that answers the first upgrade with a goodbye or a refusal, and keeps the second socket open."""

    def __init__(self, first: float | web.Response | dict[str, object]) -> None:
        self._first = first
        self._ended_at = 0.0
        self.away: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def open_socket(self, request: web.Request) -> web.StreamResponse:
        if self._ended_at:
            self.away.set_result(time.monotonic() - self._ended_at)
            await asyncio.Event().wait()
        if isinstance(self._first, web.Response):
            self._ended_at = time.monotonic()
            return self._first
        socket = web.WebSocketResponse(protocols=["vyry.v1.msgpack"])
        await socket.prepare(request)
        if isinstance(self._first, dict):
            await socket.receive()
            await socket.send_bytes(msgpack.packb({"type": "refused", "ref": "1", "payload": self._first}))
            # The device closes the connection.
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            self._ended_at = time.monotonic()
            return socket
        goodbye = {"type": "goodbye", "payload": {"reason": "shutdown", "retryAfterSeconds": self._first}}
        await socket.send_bytes(msgpack.packb(goodbye))
        await socket.close(code=1001)
        self._ended_at = time.monotonic()
        return socket


async def seconds_away(first: float | web.Response | dict[str, object], store: Store) -> float:
    """How long the device was away from this node."""
    node, app = StoppingNode(first), web.Application()
    app.router.add_get("/api/v1/ws", node.open_socket)
    async with TestServer(app) as server, aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
        rest = RestClient(http, str(server.make_url("/")), store)
        rest.save_tokens({"accessToken": "a", "refreshToken": "r"})
        signals = LiveSignals(asyncio.Event(), lambda: 0)
        running = tasks.create_task(Connection(rest, empty_mailbox(), signals).run())
        async with asyncio.timeout(10):
            away = await node.away
        running.cancel()
    return away


def empty_mailbox() -> MailboxHandlers:
    """The mailbox of a device to which this node sends no entry."""

    async def ignore(_: Any) -> Any:
        raise AssertionError("the node sends no entries")

    async def drained() -> None:
        raise AssertionError("the node sends no entries")

    start = MailboxPosition.initial(UUID(int=1))
    return MailboxHandlers(lambda: start, ignore, drained, ignore, ignore)


@pytest.mark.parametrize(("asked", "least", "most"), [(0, 0.0, 0.1), (0.6, 0.6, 0.8)])
async def test_a_goodbye_names_the_moment_to_reconnect(tmp_path: Path, asked: float, least: float, most: float) -> None:
    with Store(tmp_path / "vyry.db", bytes(32)) as store:
        assert least <= await seconds_away(asked, store) <= most


async def test_a_refused_upgrade_names_the_seconds_until_the_next_attempt(tmp_path: Path) -> None:
    refusal = web.Response(status=503, headers={"Retry-After": "1"})

    with Store(tmp_path / "vyry.db", bytes(32)) as store:
        assert 1.0 <= await seconds_away(refusal, store) <= 1.5


async def test_a_refused_hello_names_the_seconds_until_the_turn_of_this_device(tmp_path: Path) -> None:
    refusal = {"error": "Too many devices.", "error_code": "UNAVAILABLE", "retry_after_seconds": 1, "request_id": "1"}

    with Store(tmp_path / "vyry.db", bytes(32)) as store:
        assert 1.0 <= await seconds_away(refusal, store) <= 1.5


@pytest.mark.parametrize("asked", [-1, 601, "soon", None, True, float("nan")])
async def test_an_impossible_wait_is_not_honoured(tmp_path: Path, asked: Any) -> None:
    with Store(tmp_path / "vyry.db", bytes(32)) as store:
        assert 0.1 <= await seconds_away(asked, store) <= 0.5
