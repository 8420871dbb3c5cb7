"""The credentials that a node gives for calls, tried at a real TURN server (coturn)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aioice.stun import TransactionFailed
from aioice.turn import TurnTransport, create_turn_endpoint

from scripts.nodes import AllInOneProcess
from scripts.turn_service import SECRET, Coturn
from tests.support.rest_device import Device, NodeClient
from vyry.clock import SystemClock
from vyry.kernel.ids import UserId, new_id
from vyry.signals.calls import TurnCredentials


@pytest.fixture(scope="module")
def coturn() -> Iterator[Coturn]:
    with Coturn() as server:
        yield server


@pytest.fixture(scope="module")
def alone(coturn: Coturn) -> Iterator[AllInOneProcess]:
    with AllInOneProcess(coturn.environment()) as node:
        yield node


@pytest_asyncio.fixture
async def device(alone: AllInOneProcess) -> AsyncIterator[Device]:
    async with aiohttp.ClientSession() as http:
        yield await NodeClient(http, alone.url, alone.otp_file).sign_up(with_keys=False)


class DatagramRecorder(asyncio.DatagramProtocol):
    """A peer, or what comes out of a relay: what it was sent."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.said.put_nowait((data, addr))


async def allocated(coturn: Coturn, username: str, credential: str) -> tuple[TurnTransport, DatagramRecorder]:
    """A relayed address at the server. Raises TransactionFailed if it wants other credentials."""
    place = ("127.0.0.1", coturn.port)
    return await create_turn_endpoint(DatagramRecorder, place, username, credential)


async def test_a_call_goes_through_the_relay_both_ways(coturn: Coturn, device: Device) -> None:
    (server,) = (await device.call("GET", "/calls/relays"))["iceServers"]
    assert server["urls"] == [coturn.url]
    loop = asyncio.get_running_loop()
    direct, peer = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=("127.0.0.1", 0))

    relayed, caller = await allocated(coturn, server["username"], server["credential"])
    relayed.sendto(b"hello", direct.get_extra_info("sockname"))
    said, address = await peer.said.get()
    direct.sendto(b"hello back", address)

    assert (said, address) == (b"hello", relayed.get_extra_info("sockname"))
    assert (await caller.said.get())[0] == b"hello back"
    direct.close()
    relayed.close()


def made(secret: str, now: datetime) -> tuple[str, str]:
    (server,) = TurnCredentials(["turn:unused"], secret.encode(), 60).ice_servers(UserId(new_id()), now)
    return server.username, server.credential


async def test_the_server_refuses_what_the_node_did_not_give_and_what_is_over(coturn: Coturn) -> None:
    now = SystemClock().now()
    right = made(SECRET, now)
    over = made(SECRET, datetime.fromtimestamp(now.timestamp() - 120, now.tzinfo))
    longer = (f"{int(right[0].partition(':')[0]) + 9_999}:{right[0].partition(':')[2]}", right[1])

    (await allocated(coturn, *right))[0].close()
    for username, credential in (made("another-secret-than-ours", now), over, longer):
        with pytest.raises(TransactionFailed):
            await allocated(coturn, username, credential)


async def test_nobody_is_told_who_calls(alone: AllInOneProcess, device: Device) -> None:
    (server,) = (await device.call("GET", "/calls/relays"))["iceServers"]

    assert device.user_id[-12:] not in server["username"]
    assert server["credential"] not in alone.log()
    async with device.node.http.get(f"{device.node.url}/api/v1/calls/relays") as answer:
        assert answer.status == 401
