"""Typing and call signals over sockets: passed on to the others who are there, never stored, and refused out of reach."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.client import Body, Device, Refused
from tests.device_keys import base64_text
from tests.line import Line
from tests.live_house import House


CALL = str(uuid.uuid4())
NOBODY = str(uuid.uuid4())


async def refused(line: Line, name: str, /, **payload: Any) -> str:
    """The code of the refusal of this frame."""
    with pytest.raises(Refused) as refusal:
        await line.ask(name, **payload)
    return str(refusal.value.code)


async def heard(line: Line) -> Body:
    """The one frame that is passed on to this line."""
    async with asyncio.timeout(10):
        frame = await line.heard.get()
    assert await nothing(line)
    return frame


async def done(line: Line) -> None:
    """Come back when what this line said before was done: its frames are taken one after the other."""
    await line.ask("ping")


async def nothing(line: Line) -> bool:
    await line.ask("ping")
    return line.heard.empty()


async def call(line: Line, to: Device, **more: Any) -> None:
    """Signal an offer and wait until it was passed on."""
    content = line.bytes_of(b"sdp")
    await line.tell("signal", userId=to.user_id, callId=CALL, kind="offer", content=content, **more)
    await done(line)


async def test_typing_is_told_to_the_others_alone(house: House) -> None:
    ann, bo, together = await house.pair()
    cy = await house.node.sign_up()
    lines = [await Line.live(device, codec="json") for device in (ann, bo, cy)]

    await lines[0].tell("typing", conversationId=together, isTyping=True)
    await done(lines[0])

    payload = {"conversationId": together, "userId": ann.user_id, "deviceId": 1, "isTyping": True}
    assert await heard(lines[1]) == {"type": "typing", "payload": payload}
    assert await nothing(lines[0])
    assert await nothing(lines[2])
    for line in lines:
        await line.close()


async def test_typing_in_a_foreign_conversation_is_refused_like_in_none(house: House) -> None:
    _, _, together = await house.pair()
    line = await Line.live(await house.node.sign_up(), codec="json")

    for conversation in (together, NOBODY):
        assert await refused(line, "typing", conversationId=conversation, isTyping=False) == "NOT_A_MEMBER"

    await line.close()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_signal_reaches_the_devices_of_the_one_it_is_for(house: House, codec: Any) -> None:
    ann, bo, _ = await house.pair()
    laptop = await house.link(bo)
    from_ann, to_bo = await Line.live(ann), await Line.live(bo, codec=codec)
    to_laptop = await Line.live(laptop, codec=codec)

    await call(from_ann, bo)

    payload = {"userId": ann.user_id, "deviceId": 1, "callId": CALL, "kind": "offer"}
    expected = {"type": "signal", "payload": payload | {"content": to_bo.bytes_of(b"sdp")}}
    assert await heard(to_bo) == await heard(to_laptop) == expected
    for line in (from_ann, to_bo, to_laptop):
        await line.close()


async def test_a_signal_may_name_one_device(house: House) -> None:
    ann, bo, _ = await house.pair()
    laptop = await house.link(bo)
    from_ann, to_bo, to_laptop = [await Line.live(device) for device in (ann, bo, laptop)]

    await call(from_ann, bo, deviceId=2)

    assert (await heard(to_laptop))["payload"]["content"] == b"sdp"
    assert await nothing(to_bo)
    for line in (from_ann, to_bo, to_laptop):
        await line.close()


async def test_a_signal_reaches_who_is_another_device_now(house: House) -> None:
    ann, bo, together = await house.pair()
    await ann.post(together, bo, b"now the node knows Bo's devices")
    again = await house.node.sign_up(bo.number)
    from_ann, to_bo = await Line.live(ann), await Line.live(again)

    await call(from_ann, again)

    assert (await heard(to_bo))["type"] == "signal"
    await from_ann.close()
    await to_bo.close()


async def test_a_signal_out_of_reach_is_not_found(house: House) -> None:
    ann, bo, _ = await house.pair()
    stranger = await house.node.sign_up()
    line = await Line.live(ann, codec="json")
    signal = {"callId": CALL, "kind": "end", "content": ""}

    assert await refused(line, "signal", userId=stranger.user_id, **signal) == "NOT_FOUND"
    assert await refused(line, "signal", userId=NOBODY, **signal) == "NOT_FOUND"
    assert await refused(line, "signal", userId=bo.user_id, deviceId=9, **signal) == "NOT_FOUND"
    await line.close()


async def test_a_signal_is_never_stored(house: House) -> None:
    ann, bo, _ = await house.pair()
    line = await Line.live(ann)

    await call(line, bo)
    later = await Line.live(bo)

    assert await nothing(later)
    assert (await bo.call("GET", "/mailbox"))["entries"] == []
    await later.close()
    await line.close()


async def test_a_signal_has_a_largest_content(house: House) -> None:
    ann, bo, _ = await house.pair()
    from_ann, to_bo = await Line.live(ann, codec="json"), await Line.live(bo, codec="json")
    largest, larger = base64_text(bytes(16 << 10)), base64_text(bytes((16 << 10) + 1))
    signal = {"userId": bo.user_id, "callId": CALL, "kind": "candidate"}

    assert await refused(from_ann, "signal", **signal, content=larger) == "INVALID_REQUEST"
    await from_ann.tell("signal", **signal, content=largest)
    await done(from_ann)

    assert (await heard(to_bo))["payload"]["content"] == largest
    await from_ann.close()
    await to_bo.close()
