"""Two web nodes act as one: what happens at one node is seen at the other."""

import asyncio
import uuid

import pytest

from tests.support.device_socket import Codec, DeviceSocket
from tests.support.rest_device import Device, NodeClient, RequestRefused


async def two(nodes: list[NodeClient]) -> tuple[Device, Device, str]:
    """Ann at the first node, Bo at the second, and their conversation."""
    ann, bo = await nodes[0].sign_up(), await nodes[1].sign_up()
    return ann, bo, await ann.open_direct(bo)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_mail_sent_while_offline_comes_at_the_other_node(nodes: list[NodeClient], codec: Codec) -> None:
    ann, bo, conversation = await two(nodes)
    first = await DeviceSocket.connect_and_resume(bo, nodes[1].url, codec)
    await ann.post(conversation, bo, b"one")
    await first.wait_for_entries(1)
    await first.close()

    for content in (b"two", b"three"):
        await ann.post(conversation, bo, content)
    second = await DeviceSocket.connect_and_resume(bo, nodes[0].url, codec)
    await second.wait_for_entries(3)
    await second.close()

    assert bo.contents == [b"one", b"two", b"three"]


async def test_what_was_seen_but_not_acknowledged_comes_again_only_if_asked_for(nodes: list[NodeClient]) -> None:
    ann, bo, conversation = await two(nodes)
    for content in (b"one", b"two"):
        await ann.post(conversation, bo, content)
    first = await DeviceSocket.connect_and_resume(bo, nodes[0].url, acknowledges=False)
    await first.wait_for_entries(2)
    await first.close()

    resumed = await DeviceSocket.connect_and_resume(bo, nodes[1].url)
    await ann.post(conversation, bo, b"three")
    await resumed.wait_for_entries(3)
    await resumed.close()

    assert bo.contents == [b"one", b"two", b"three"]


async def test_a_later_connection_takes_over_from_the_one_at_the_other_node(nodes: list[NodeClient]) -> None:
    ann, bo, conversation = await two(nodes)
    older = await DeviceSocket.connect_and_resume(bo, nodes[0].url)

    newer = await DeviceSocket.connect_and_resume(bo, nodes[1].url)
    code = await older.wait_closed()
    await ann.post(conversation, bo, b"to the newer one")
    await newer.wait_for_entries(1)
    await newer.close()

    assert (code, bo.contents) == (4409, [b"to the newer one"])


async def test_typing_reaches_the_other_member_at_the_other_node(nodes: list[NodeClient]) -> None:
    ann, bo, conversation = await two(nodes)
    anns, bos = (
        await DeviceSocket.connect_and_resume(ann, nodes[0].url),
        await DeviceSocket.connect_and_resume(bo, nodes[1].url),
    )

    hearing = asyncio.create_task(bos.frames.get())
    async with asyncio.timeout(20):
        while not hearing.done():
            # A hint is lost on a node that is just asking for those of a new socket: clients say it again, and one in 3 s is passed on.
            await anns.send("typing", conversationId=conversation, isTyping=True)
            await asyncio.wait([hearing], timeout=3.5)
    heard = await hearing
    await anns.close()
    await bos.close()

    expected = {"conversationId": conversation, "userId": ann.user_id, "deviceId": ann.device_id, "isTyping": True}
    assert (heard["type"], heard["payload"]) == ("typing", expected)


async def test_a_call_is_signalled_between_nodes_and_leaves_nothing_in_the_mailbox(nodes: list[NodeClient]) -> None:
    ann, bo, _ = await two(nodes)
    anns, bos = (
        await DeviceSocket.connect_and_resume(ann, nodes[0].url),
        await DeviceSocket.connect_and_resume(bo, nodes[1].url),
    )
    call = str(uuid.uuid4())

    await anns.send("signal", userId=bo.user_id, callId=call, kind="offer", content=anns.encode_bytes(b"sealed"))
    heard = await asyncio.wait_for(bos.frames.get(), 5)
    await anns.close()
    await bos.close()
    page = await bo.collect()

    assert (heard["type"], heard["payload"]["callId"], heard["payload"]["content"]) == ("signal", call, b"sealed")
    assert page["entries"] == []


async def test_a_post_repeated_at_the_other_node_is_the_same_post(nodes: list[NodeClient]) -> None:
    ann, bo, conversation = await two(nodes)
    await ann.fetch_device_list(bo.user_id)
    body = ann.build_post(conversation, [bo.user_id], b"once")

    answers = [await nodes[number].call("POST", "/messages", body, ann.token) for number in (0, 1, 0)]
    other = ann.build_post(conversation, [bo.user_id], b"twice") | {"messageId": body["messageId"]}
    with pytest.raises(RequestRefused) as refusal:
        await nodes[1].call("POST", "/messages", other, ann.token)
    await bo.collect(wait=5)

    assert [answer["isRepeat"] for answer in answers] == [False, True, True]
    assert (refusal.value.status, refusal.value.code) == (409, "IDEMPOTENCY_MISMATCH")
    assert bo.contents == [b"once"]


async def test_a_new_sign_up_is_repaired_and_ends_the_old_socket_at_the_other_node(nodes: list[NodeClient]) -> None:
    ann, bo, conversation = await two(nodes)
    await ann.post(conversation, bo, b"to the old phone")
    old = await DeviceSocket.connect_and_resume(bo, nodes[1].url, acknowledges=False)

    new = await nodes[0].sign_up(bo.number)
    code = await old.wait_closed(5)
    await ann.post(conversation, bo, b"to the new phone")
    await new.collect(wait=5)

    assert (code, new.contents) == (4401, [b"to the new phone"])


async def test_a_long_poll_at_one_node_wakes_for_a_post_at_the_other(nodes: list[NodeClient]) -> None:
    ann, bo, conversation = await two(nodes)
    await bo.collect()

    waiting = asyncio.create_task(bo.collect(wait=20))
    await ann.post(conversation, bo, b"wake up")
    async with asyncio.timeout(5):
        await waiting
    await bo.acknowledge()

    assert bo.contents == [b"wake up"]
    assert (await bo.collect())["cursor"]["seq"] == 1
