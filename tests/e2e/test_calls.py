"""Calls over two web nodes: rung, answered, missed."""

import asyncio
import uuid
from typing import Any

from tests.support.device_socket import DeviceSocket
from tests.support.linking import link_device
from tests.support.rest_device import Body, Device, NodeClient


async def signal(line: DeviceSocket, to: Device, call: str, kind: str, content: bytes = b"sealed") -> None:
    """Send a signal to all devices of somebody; comes back when it was passed on."""
    await line.send("signal", userId=to.user_id, callId=call, kind=kind, content=line.encode_bytes(content))
    await line.request("ping")


async def heard(line: DeviceSocket, count: int) -> list[tuple[str, Any]]:
    """The next signals of this line."""
    async with asyncio.timeout(10):
        frames: list[Body] = [await line.frames.get() for _ in range(count)]
    return [(frame["payload"]["kind"], frame["payload"]["content"]) for frame in frames]


async def test_a_call_is_set_up_in_order_from_one_node_to_the_other(nodes: list[NodeClient]) -> None:
    ann, bo = await nodes[0].sign_up(), await nodes[1].sign_up()
    await ann.open_direct(bo)
    anns, bos = (
        await DeviceSocket.connect_and_resume(ann, nodes[0].url),
        await DeviceSocket.connect_and_resume(bo, nodes[1].url),
    )
    call, contents = str(uuid.uuid4()), [b"%d" % number for number in range(10)]

    await signal(anns, bo, call, "offer")
    for content in contents:
        await signal(anns, bo, call, "candidate", content)
    assert await heard(bos, 11) == [("offer", b"sealed"), *(("candidate", each) for each in contents)]
    await signal(bos, ann, call, "answer")
    await signal(bos, ann, call, "end")

    assert await heard(anns, 2) == [("answer", b"sealed"), ("end", b"sealed")]
    for line in (anns, bos):
        await line.close()


async def test_a_call_that_the_caller_gives_up_is_told_to_who_was_away(nodes: list[NodeClient]) -> None:
    ann, bo = await nodes[0].sign_up(), await nodes[1].sign_up()
    await ann.open_direct(bo)
    anns = await DeviceSocket.connect_and_resume(ann, nodes[0].url)
    call = str(uuid.uuid4())

    await signal(anns, bo, call, "offer")
    await signal(anns, bo, call, "end")
    page = await bo.collect(wait=20)
    await anns.close()

    assert [entry["notice"] for entry in page["entries"]] == [
        {"name": "callMissed", "userId": ann.user_id, "callId": call}
    ]


async def test_the_device_at_one_node_takes_the_call_and_the_one_at_the_other_stops(nodes: list[NodeClient]) -> None:
    ann, bo = await nodes[0].sign_up(), await nodes[0].sign_up()
    await ann.open_direct(bo)
    tablet = await link_device(bo)
    anns, bos = [await DeviceSocket.connect_and_resume(each, nodes[0].url) for each in (ann, bo)]
    tablets = await DeviceSocket.connect_and_resume(tablet, nodes[1].url)
    call = str(uuid.uuid4())

    await signal(anns, bo, call, "offer")
    for line in (bos, tablets):
        assert await heard(line, 1) == [("offer", b"sealed")]
    await signal(tablets, ann, call, "answer", b"tablet")
    assert await heard(bos, 1) == [("end", b"")]
    await signal(bos, ann, call, "answer", b"phone")
    await signal(bos, ann, call, "end")
    assert await heard(bos, 1) == [("end", b"")]
    await signal(tablets, ann, call, "end", b"bye")

    assert await heard(anns, 2) == [("answer", b"tablet"), ("end", b"bye")]
    for line in (anns, bos, tablets):
        await line.close()
