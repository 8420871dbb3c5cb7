"""The socket's own door: who gets in, what is a frame, and that hostile ones end in the close code or refusal that the protocol promises."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import msgpack
import pytest
import pytest_asyncio

from scripts.nodes import AllInOneProcess
from tests.support.device_socket import DeviceSocket
from tests.support.rest_device import Device, NodeClient, RequestRefused


HELLO = '{"type":"hello","id":"1","payload":{"after":0,"head":null}}'
PERSON = "0198c2d4-7a00-7000-8000-000000000000"


@pytest.fixture(scope="module")
def alone() -> Iterator[AllInOneProcess]:
    with AllInOneProcess() as node:
        yield node
        # Whatever was sent: nothing of it was a surprise.
        assert "Traceback" not in node.log()
        assert '"event":"unhandled_error"' not in node.log()


@pytest_asyncio.fixture
async def device(alone: AllInOneProcess) -> AsyncIterator[Device]:
    async with aiohttp.ClientSession() as http:
        yield await NodeClient(http, alone.url, alone.otp_file).sign_up(with_keys=False)


async def dial(
    device: Device, protocol: str = "vyry.v1.json", query: str = "", **headers: str
) -> aiohttp.ClientWebSocketResponse:
    url = f"{device.node.url}/api/v1/ws{query}"
    return await device.node.http.ws_connect(url, headers=headers, protocols=[protocol], compress=15)


async def signed_in(device: Device, protocol: str = "vyry.v1.json") -> aiohttp.ClientWebSocketResponse:
    return await dial(device, protocol, Authorization=f"Bearer {device.token}")


async def closed_with(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """The close code, whatever comes before it."""
    while (await socket.receive(timeout=5)).type not in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
        pass
    return socket.close_code


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}])
async def test_who_has_no_token_is_refused_before_the_upgrade(device: Device, headers: dict[str, str]) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await dial(device, **headers)

    assert refused.value.status == 401


@pytest.mark.parametrize(
    "query", ["?ticket=", "?ticket=nonsense", "?token={token}", "?access_token={token}", "?ticket={token}"]
)
async def test_a_token_is_no_ticket(device: Device, query: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await dial(device, query=query.format(token=device.token))

    assert refused.value.status == 401


async def test_a_ticket_opens_one_socket(device: Device) -> None:
    ticket = (await device.call("POST", "/auth/ws-ticket"))["ticket"]

    socket = await dial(device, query=f"?ticket={ticket}")
    await socket.send_str(HELLO)
    welcome = await socket.receive_json(timeout=5)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await dial(device, query=f"?ticket={ticket}")

    assert welcome["type"] == "welcome"
    assert refused.value.status == 401
    await socket.close()


async def test_compression_is_never_agreed_on(device: Device) -> None:
    socket = await signed_in(device)

    assert socket.compress == 0
    await socket.close()


async def test_without_an_upgrade_there_is_nothing_to_read(device: Device) -> None:
    with pytest.raises(RequestRefused) as refused:
        await device.call("GET", "/ws")

    assert (refused.value.status, refused.value.code) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "hello",
        "[]",
        "{}",
        '{"type":"ping","id":"1","payload":{}}',
        '{"type":"hello","payload":{"after":0}}',
        '{"type":"hello","id":1,"payload":{"after":0}}',
        '{"type":"hello","id":"","payload":{"after":0}}',
        f'{{"type":"hello","id":"{"x" * 65}","payload":{{"after":0}}}}',
        '{"type":"hello","id":"1","payload":{"after":0},"more":1}',
        '{"type":"hello","type":"hello","id":"1","payload":{"after":0}}',
        '{"type":"hello","id":"1","payload":{"after":0,"after":0}}',
        '{"type":"hello","id":"\\ud800","payload":{"after":0}}',
        '{"type":"hello","id":"1","payload":{"after":NaN}}',
        '{"type":"welcome","id":"1","payload":{}}',
        '{"type":"watch","id":"1","payload":{}}',
    ],
)
async def test_what_is_no_frame_closes_the_socket(device: Device, frame: str) -> None:
    socket = await signed_in(device)

    await socket.send_str(frame)

    assert await closed_with(socket) == 4400


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x93",
        msgpack.packb([1]),
        msgpack.packb({1: 2}),
        msgpack.packb({b"type": "hello", "id": "1"}),
        msgpack.packb({"type": "hello", "id": "1", "payload": msgpack.ExtType(5, b"x")}),
        b"\x82\xa4type\xa5hello\xa4type\xa5hello",
        msgpack.packb({"type": "hello", "id": "1", "payload": {"after": 0}}) + b"\x00",
        b"\x81" * 5000,
        HELLO.encode(),
    ],
)
async def test_what_is_no_messagepack_frame_closes_the_socket(device: Device, frame: bytes) -> None:
    socket = await signed_in(device, "vyry.v1.msgpack")

    await socket.send_bytes(frame)

    assert await closed_with(socket) == 4400


@pytest.mark.parametrize(
    ("frame", "word"),
    [
        ("hello", "not one JSON value"),
        ('{"type":"post","id":"1","payload":{}}', "the first frame must be hello"),
        ('{"type":"hello","payload":{"after":0}}', "id is missing"),
        ('{"type":"Hello","id":"1","payload":{"after":0}}', "type is missing or unknown"),
        ('{"op":"hello","id":"1","after":0}', "type, id and payload"),
        (HELLO.encode(), "vyry.v1.json takes text frames"),
    ],
)
async def test_a_first_frame_that_is_wrong_is_told_why(device: Device, frame: str | bytes, word: str) -> None:
    socket = await signed_in(device)

    await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))

    closed = await socket.receive(timeout=5)
    assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 4400)
    assert word in str(closed.extra)


async def test_a_second_hello_is_told_why(device: Device) -> None:
    socket = await signed_in(device)
    await socket.send_str(HELLO)
    while (await socket.receive_json(timeout=5))["type"] != "drained":
        pass

    await socket.send_str(HELLO)

    assert "already answered" in str((await socket.receive(timeout=5)).extra)


async def test_a_subprotocol_takes_its_own_kind_of_frames_only(device: Device) -> None:
    socket = await signed_in(device)

    await socket.send_bytes(HELLO.encode())

    assert await closed_with(socket) == 4400


async def test_a_frame_of_exactly_the_limit_is_taken(device: Device) -> None:
    socket = await signed_in(device)

    await socket.send_str(HELLO[:-1] + " " * ((256 << 10) - len(HELLO)) + "}")

    assert (await socket.receive_json(timeout=5))["type"] == "welcome"
    await socket.close()


async def test_a_frame_over_the_limit_is_cut_off(device: Device) -> None:
    socket = await signed_in(device)

    await socket.send_str(HELLO[:-1] + " " * ((256 << 10) + 1 - len(HELLO)) + "}")

    assert await closed_with(socket) == 1009


@pytest.mark.parametrize(
    ("name", "payload", "code"),
    [
        ("hello", {}, "INVALID_REQUEST"),
        ("hello", {"after": "0"}, "INVALID_REQUEST"),
        ("hello", {"after": 0, "head": "AAAA"}, "INVALID_REQUEST"),
        ("hello", {"after": 7, "head": "A" * 43 + "="}, "STALE_HEAD"),
        ("hello", {"after": 2**53}, "INVALID_REQUEST"),
        ("hello", {"after": 1.0}, "INVALID_REQUEST"),
        ("hello", [[[[[[[[[[]]]]]]]]]], "INVALID_REQUEST"),
        ("hello", [], "INVALID_REQUEST"),
        ("hello", None, "INVALID_REQUEST"),
    ],
)
async def test_a_wrong_hello_is_refused_and_another_may_follow(
    device: Device, name: str, payload: Any, code: str
) -> None:
    socket = await signed_in(device)

    await socket.send_json({"type": name, "id": "wrong", "payload": payload})
    refused = await socket.receive_json(timeout=5)
    await socket.send_str(HELLO)
    welcome = await socket.receive_json(timeout=5)

    assert (refused["type"], refused["ref"], refused["payload"]["error_code"]) == ("refused", "wrong", code)
    assert (welcome["type"], welcome["ref"]) == ("welcome", "1")
    await socket.close()


@pytest.mark.parametrize(
    ("name", "payload", "code"),
    [
        ("post", {}, "INVALID_REQUEST"),
        ("acknowledge", {"seq": 1, "head": "A" * 43 + "="}, "STALE_HEAD"),
        ("acknowledge", {"seq": -1, "head": "A" * 43 + "="}, "INVALID_REQUEST"),
        ("park", {"seq": 1, "reason": "x"}, "NOT_FOUND"),
        ("park", {"seq": 1, "reason": "x" * 65}, "INVALID_REQUEST"),
        ("renew", {"accessToken": "nonsense"}, "INVALID_TOKEN"),
        ("typing", {"conversationId": PERSON, "isTyping": True}, "NOT_A_MEMBER"),
        ("signal", {"userId": PERSON, "callId": PERSON, "kind": "offer", "content": "AAAA"}, "NOT_FOUND"),
        ("signal", {"userId": PERSON, "callId": PERSON, "kind": "offer", "content": "A" * 21848}, "INVALID_REQUEST"),
        ("ping", {"more": 1}, "INVALID_REQUEST"),
    ],
)
async def test_a_wrong_payload_is_refused_and_the_socket_lives(
    device: Device, name: str, payload: Any, code: str
) -> None:
    line = await DeviceSocket.connect_and_resume(device, codec="json")

    with pytest.raises(RequestRefused) as refused:
        await line.request(name, **payload)

    assert refused.value.code == code
    assert await line.request("ping") == {}
    await line.close()


async def test_who_reads_late_still_learns_why_it_was_closed(device: Device) -> None:
    older, newer = await signed_in(device), await signed_in(device)
    await older.send_str(HELLO)
    await older.receive_json(timeout=5)
    await newer.send_str(HELLO)
    await newer.receive_json(timeout=5)
    await device.call("GET", "/account")

    assert await closed_with(older) == 4409
    await newer.close()
