"""A device that comes back is told which message of its own the node accepted last: docs/protocol.md, "The last message"."""

import asyncio

import pytest

from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer
from tests.support.rest_device import Device, RequestRefused


async def told(device: Device) -> str | None:
    """What the device hears at hello; the mailbox by REST says the same."""
    line = await DeviceSocket.connect_and_resume(device)
    await line.close()
    page = await device.call("GET", "/mailbox")
    assert page["lastMessageId"] == line.welcome["lastMessageId"]
    last: str | None = line.welcome["lastMessageId"]
    return last


async def test_a_post_by_rest_or_socket_is_told_once_it_was_answered(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    posted, heard = [], [await told(ann)]

    for _ in range(3):
        posted.append((await ann.post(together, bo, b"by REST"))["messageId"])
        heard.append(await told(ann))
        line = await DeviceSocket.connect_and_resume(ann)
        answer = await line.request("post", **ann.build_post(together, [bo.user_id], b"by socket"))
        posted.append(str(answer["messageId"]))
        await line.close()
        heard.append(await told(ann))

    assert heard == [None, *posted]
    assert await told(bo) is None


async def test_a_refused_post_and_a_repeated_one_are_not_told(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    first = ann.build_post(together, [bo.user_id], b"first")
    await ann.call("POST", "/messages", first)
    second = await ann.post(together, bo, b"second")

    await ann.call("POST", "/messages", first)
    with pytest.raises(RequestRefused):
        await ann.call("POST", "/messages", first | {"messageId": second["messageId"]})

    assert await told(ann) == second["messageId"]


async def test_each_device_is_told_of_its_own_posts_alone(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    posted = await ann.post(together, bo, b"from the first device")

    other = await node_server.add_linked_device(ann)

    assert (await told(ann), await told(other)) == (posted["messageId"], None)


async def test_whoever_signs_up_anew_is_told_nothing_of_the_former_device(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    await ann.post(together, bo, b"from the former device")

    again = await node_server.node.sign_up(ann.number)

    assert (again.user_id, again.device_id) == (ann.user_id, ann.device_id)
    assert await told(again) is None


async def test_many_devices_that_come_back_at_once_are_each_told_their_own(node_server: NodeServer) -> None:
    pairs = [await node_server.sign_up_pair() for _ in range(5)]
    posted = [(await ann.post(together, bo, b"mine"))["messageId"] for ann, bo, together in pairs]

    lines = await asyncio.gather(*(DeviceSocket.connect_and_resume(ann) for ann, _, _ in pairs))

    assert [line.welcome["lastMessageId"] for line in lines] == posted
    await asyncio.gather(*(line.close() for line in lines))
