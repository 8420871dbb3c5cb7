"""What an idle, authenticated socket costs in memory, beside a bare aiohttp WebSocket server."""

import asyncio
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from bench.costs import resident_bytes
from bench.load import Member
from bench.seed import AccountSeeder
from bench.wire import Frame, Socket
from scripts.nodes import ROOT, Cluster
from scripts.services import Server


#: Opened before the first look, so that what a server makes once does not count.
FIRST = 20
OPENED_AT_ONCE = 25
SETTLE_SECONDS = 1.0


class BareServer(Server):
    """bench/bare_websocket.py as a process."""

    name = "bare"

    def __init__(self) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        """Nothing."""

    def _command(self) -> Sequence[str | Path]:
        options = ("-m", "bench.bare_websocket", "--port", str(self.port))
        return ["/usr/bin/env", f"PYTHONPATH={ROOT}", sys.executable, *options]


async def idle_costs(sockets: int, installation: Cluster, bare: BareServer) -> dict[str, float]:
    """Bytes a socket: of a freshly started web node, and of the bare server."""
    web = installation.webs[0]
    await asyncio.to_thread(web.restart)
    async with aiohttp.ClientSession() as http:
        members = await AccountSeeder(http, web.url, installation.otp_file).members(sockets + FIRST, with_keys=False)
    # Signing up used memory that sockets would be given again: they meet a fresh process.
    await asyncio.to_thread(web.restart)
    strangers = [Member(bare.url, str(number), str(number)) for number in range(sockets + FIRST)]
    return {"web": await _bytes_a_socket(web.pid, members), "bare": await _bytes_a_socket(bare.pid, strangers)}


async def _bytes_a_socket(pid: int, members: list[Member]) -> float:
    opened = await _open(members[:FIRST])
    await asyncio.sleep(SETTLE_SECONDS)
    before = resident_bytes(pid)
    opened += await _open(members[FIRST:])
    await asyncio.sleep(SETTLE_SECONDS)
    after = resident_bytes(pid)
    for socket in opened:
        if socket.closed.done():
            raise RuntimeError(f"an idle socket was closed with {socket.closed.result()}")
        socket.close()
    return (after - before) / (len(members) - FIRST)


async def _open(members: list[Member]) -> list[Socket]:
    gate = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one(member: Member) -> Socket:
        async with gate:
            return await _hello(member)

    return list(await asyncio.gather(*(one(member) for member in members)))


async def _hello(member: Member) -> Socket:
    socket = await Socket.open(member.url, member.token, "msgpack", _ignore)
    client = {"name": "bench", "version": "1"}
    socket.send({"type": "hello", "id": "hello", "payload": {"after": 0, "head": None, "client": client}})
    return socket


def _ignore(_: Socket, frame: Frame) -> None:
    """Welcome and drained: nothing to do."""
    if frame["type"] == "refused":
        raise RuntimeError(f"{frame}")


def raise_file_limit() -> None:
    """Let this process, and whatever it starts, hold as many connections as the machine allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20_000)) if hard > 0 else 20_000, hard))
