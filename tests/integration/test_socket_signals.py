"""Typing and call signals over sockets: passed on to the others who are there, never stored, and refused out of reach."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.support.device_keys import base64_text
from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, RequestRefused


CALL = str(uuid.uuid4())
NOBODY = str(uuid.uuid4())


async def refused(line: DeviceSocket, name: str, /, **payload: Any) -> str:
    """The code of the refusal of this frame."""
    with pytest.raises(RequestRefused) as refusal:
        await line.request(name, **payload)
    return str(refusal.value.code)


async def heard(line: DeviceSocket) -> Body:
    """The one frame that is passed on to this line."""
    async with asyncio.timeout(10):
        frame = await line.frames.get()
    assert await has_no_frames(line)
    return frame


async def wait_for_pong(line: DeviceSocket) -> None:
    """Come back when what this line said before was done: its frames are taken one after the other."""
    await line.request("ping")


async def has_no_frames(line: DeviceSocket) -> bool:
    await line.request("ping")
    return line.frames.empty()


async def call(line: DeviceSocket, to: Device, **more: Any) -> None:
    """Signal an offer and wait until it was passed on."""
    content = line.encode_bytes(b"sdp")
    await line.send("signal", userId=to.user_id, callId=CALL, kind="offer", content=content, **more)
    await wait_for_pong(line)


async def test_typing_is_told_to_the_others_alone(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    cy = await node_server.node.sign_up()
    lines = [await DeviceSocket.connect_and_resume(device, codec="json") for device in (ann, bo, cy)]

    await lines[0].send("typing", conversationId=together, isTyping=True)
    await wait_for_pong(lines[0])

    payload = {"conversationId": together, "userId": ann.user_id, "deviceId": 1, "isTyping": True}
    assert await heard(lines[1]) == {"type": "typing", "payload": payload}
    assert await has_no_frames(lines[0])
    assert await has_no_frames(lines[2])
    for line in lines:
        await line.close()


async def test_typing_in_a_foreign_conversation_is_refused_like_in_none(node_server: NodeServer) -> None:
    _, _, together = await node_server.sign_up_pair()
    line = await DeviceSocket.connect_and_resume(await node_server.node.sign_up(), codec="json")

    for conversation in (together, NOBODY):
        assert await refused(line, "typing", conversationId=conversation, isTyping=False) == "NOT_A_MEMBER"

    await line.close()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_signal_reaches_the_devices_of_the_one_it_is_for(node_server: NodeServer, codec: Any) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    laptop = await node_server.add_linked_device(bo)
    from_ann, to_bo = await DeviceSocket.connect_and_resume(ann), await DeviceSocket.connect_and_resume(bo, codec=codec)
    to_laptop = await DeviceSocket.connect_and_resume(laptop, codec=codec)

    await call(from_ann, bo)

    payload = {"userId": ann.user_id, "deviceId": 1, "callId": CALL, "kind": "offer"}
    expected = {"type": "signal", "payload": payload | {"content": to_bo.encode_bytes(b"sdp")}}
    assert await heard(to_bo) == await heard(to_laptop) == expected
    for line in (from_ann, to_bo, to_laptop):
        await line.close()


async def test_a_signal_may_name_one_device(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    laptop = await node_server.add_linked_device(bo)
    from_ann, to_bo, to_laptop = [await DeviceSocket.connect_and_resume(device) for device in (ann, bo, laptop)]

    await call(from_ann, bo, deviceId=2)

    assert (await heard(to_laptop))["payload"]["content"] == b"sdp"
    assert await has_no_frames(to_bo)
    for line in (from_ann, to_bo, to_laptop):
        await line.close()


async def test_a_signal_reaches_who_is_another_device_now(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    await ann.post(together, bo, b"now the node knows Bo's devices")
    again = await node_server.node.sign_up(bo.number)
    from_ann, to_bo = await DeviceSocket.connect_and_resume(ann), await DeviceSocket.connect_and_resume(again)

    await call(from_ann, again)

    assert (await heard(to_bo))["type"] == "signal"
    await from_ann.close()
    await to_bo.close()


async def test_a_signal_out_of_reach_is_not_found(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    stranger = await node_server.node.sign_up()
    line = await DeviceSocket.connect_and_resume(ann, codec="json")
    signal = {"callId": CALL, "kind": "end", "content": ""}

    assert await refused(line, "signal", userId=stranger.user_id, **signal) == "NOT_FOUND"
    assert await refused(line, "signal", userId=NOBODY, **signal) == "NOT_FOUND"
    assert await refused(line, "signal", userId=bo.user_id, deviceId=9, **signal) == "NOT_FOUND"
    await line.close()


async def test_a_signal_is_never_stored(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    line = await DeviceSocket.connect_and_resume(ann)

    await call(line, bo)
    later = await DeviceSocket.connect_and_resume(bo)

    assert await has_no_frames(later)
    assert (await bo.call("GET", "/mailbox"))["entries"] == []
    await later.close()
    await line.close()


async def test_a_signal_has_a_largest_content(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    from_ann, to_bo = (
        await DeviceSocket.connect_and_resume(ann, codec="json"),
        await DeviceSocket.connect_and_resume(bo, codec="json"),
    )
    largest, larger = base64_text(bytes(16 << 10)), base64_text(bytes((16 << 10) + 1))
    signal = {"userId": bo.user_id, "callId": CALL, "kind": "candidate"}

    assert await refused(from_ann, "signal", **signal, content=larger) == "INVALID_REQUEST"
    await from_ann.send("signal", **signal, content=largest)
    await wait_for_pong(from_ann)

    assert (await heard(to_bo))["payload"]["content"] == largest
    await from_ann.close()
    await to_bo.close()
