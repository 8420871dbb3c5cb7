"""How many sockets, and how many frames on each: over real sockets of a node whose limits are on."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from scripts.nodes import AllInOneProcess
from tests.support.device_socket import DeviceSocket
from tests.support.rest_device import Device, NodeClient


HELLO = '{"type":"hello","id":"1","payload":{"after":0,"head":null}}'
PING = '{"type":"ping","id":"1","payload":{}}'
#: What the node is set to: small enough to be met.
ENVIRONMENT = {
    "VYRY_LIMITS": "on",
    "VYRY_TRUSTED_PROXIES": "127.0.0.0/8",
    "VYRY_LIMIT_SOCKETS_ADDRESS": "8/1",
    "VYRY_LIMIT_FRAMES": "40/20",
    "VYRY_LIMIT_POST_BYTES": "1000/86400",
    "VYRY_LIMIT_OTP_NETWORK": "1000/60",
    "VYRY_MAX_SOCKETS": "12",
}


@pytest.fixture(scope="module")
def alone() -> Iterator[AllInOneProcess]:
    with AllInOneProcess(ENVIRONMENT) as node:
        yield node
        assert '"event":"unhandled_error"' not in node.log()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest_asyncio.fixture
async def node(alone: AllInOneProcess, http: aiohttp.ClientSession) -> NodeClient:
    return NodeClient(http, alone.url, alone.otp_file)


async def dial(device: Device, address: str) -> aiohttp.ClientWebSocketResponse:
    headers = {"Authorization": f"Bearer {device.token}", "X-Forwarded-For": address}
    return await device.node.http.ws_connect(f"{device.node.url}/api/v1/ws", headers=headers)


async def live(device: Device, address: str) -> aiohttp.ClientWebSocketResponse:
    socket = await dial(device, address)
    await socket.send_str(HELLO)
    assert (await socket.receive_json(timeout=5))["type"] == "welcome"
    return socket


async def refused(device: Device, address: str) -> tuple[int, str, dict[str, Any]]:
    """Status, Retry-After and body of an upgrade that is refused."""
    headers = {
        "Authorization": f"Bearer {device.token}",
        "X-Forwarded-For": address,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with device.node.http.get(f"{device.node.url}/api/v1/ws", headers=headers) as answer:
        return answer.status, answer.headers["Retry-After"], await answer.json()


async def closed_with(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    while (await socket.receive(timeout=5)).type not in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
        pass
    return socket.close_code


async def test_a_seventh_socket_of_an_account_is_refused_before_the_upgrade(node: NodeClient) -> None:
    device = await node.sign_up(with_keys=False)
    sockets = [await dial(device, f"198.51.100.{number}") for number in range(6)]

    status, retry_after, body = await refused(device, "198.51.100.99")
    await sockets[0].close()
    await asyncio.sleep(0.1)
    sockets[0] = await dial(device, "198.51.100.99")

    assert (status, body["error_code"]) == (429, "RATE_LIMITED")
    assert retry_after == str(body["retry_after_seconds"])
    for socket in sockets:
        await socket.close()


async def test_a_device_that_reconnects_again_and_again_is_never_locked_out(node: NodeClient) -> None:
    device = await node.sign_up(with_keys=False)
    sockets = [await live(device, "198.51.100.1") for _ in range(10)]

    assert [await closed_with(socket) for socket in sockets[:-1]] == [4409] * 9
    assert not sockets[-1].closed
    for socket in sockets:
        await socket.close()


async def test_a_ninth_socket_of_an_address_is_refused_and_one_elsewhere_is_not(node: NodeClient) -> None:
    devices = [await node.sign_up(with_keys=False) for _ in range(9)]
    sockets = [await live(device, "2001:db8::1") for device in devices[:8]]

    status, _, body = await refused(devices[8], "2001:db8::9")
    elsewhere = await live(devices[8], "2001:db8:0:1::9")

    assert (status, body["error_code"]) == (429, "RATE_LIMITED")
    for socket in [*sockets, elsewhere]:
        await socket.close()


async def test_a_full_node_answers_503_and_says_when_to_come_back(node: NodeClient) -> None:
    devices = [await node.sign_up(with_keys=False) for _ in range(3)]
    sockets = [await dial(device, f"203.0.113.{number}") for number, device in enumerate(devices[:2] * 6)]

    status, retry_after, body = await refused(devices[2], "203.0.113.99")

    assert (status, body["error_code"]) == (503, "UNAVAILABLE")
    assert retry_after == str(body["retry_after_seconds"])
    for socket in sockets:
        await socket.close()


@pytest.mark.parametrize("kind", ["frame", "ping"])
async def test_who_sends_too_fast_is_closed(node: NodeClient, kind: str) -> None:
    device = await node.sign_up(with_keys=False)
    socket = await live(device, "198.51.100.2")

    for _ in range(60):
        await (socket.send_str(PING) if kind == "frame" else socket.ping())

    assert await closed_with(socket) == 4429


async def test_an_ordinary_burst_is_answered_whole(node: NodeClient) -> None:
    device = await node.sign_up(with_keys=False)
    socket = await live(device, "198.51.100.3")

    for _ in range(35):
        await socket.send_str(PING)
    answers = [(await socket.receive_json(timeout=5))["type"] for _ in range(36)]

    assert sorted(answers) == ["drained", *["pong"] * 35]
    await socket.close()


async def test_acknowledging_what_was_sent_is_never_too_fast(node: NodeClient) -> None:
    ann, bo = await node.sign_up(), await node.sign_up()
    conversation = await ann.open_direct(bo)
    for number in range(55):
        await ann.post(conversation, bo, b"%d" % number)
    line = await DeviceSocket.connect_and_resume(bo, acknowledges=False)
    await line.drained.wait()

    answers = [await line.request("acknowledge", seq=entry["seq"], head=entry["head"]) for entry in bo.received]

    assert answers[-1]["cursor"]["seq"] == 55
    await line.close()


async def test_bytes_over_the_limit_are_refused_by_socket_and_by_rest_and_cost_no_post(node: NodeClient) -> None:
    ann, bo = await node.sign_up(), await node.sign_up()
    conversation = await ann.open_direct(bo)
    await ann.fetch_device_list(bo.user_id)
    large = ann.build_post(conversation, [bo.user_id], b"x" * 1001)
    line = await DeviceSocket.connect_and_resume(ann)

    for _ in range(3):
        with pytest.raises(Exception, match="RATE_LIMITED"):
            await line.request("post", **json.loads(json.dumps(large, default=str)))
        with pytest.raises(Exception, match="429 RATE_LIMITED"):
            await ann.call("POST", "/messages", large)
    await ann.post(conversation, bo, b"x" * 600)

    left = {row["name"]: row["remaining"] for row in (await ann.call("GET", "/limits"))["limits"]}
    assert (left["post"], left["post_bytes"]) == (59, 400)
    with pytest.raises(Exception, match="429 RATE_LIMITED"):
        await ann.post(conversation, bo, b"x" * 600)
    await line.close()
