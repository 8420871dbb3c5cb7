"""What GET /messages/{messageId} tells of others: never a device, never a second, and nothing to whom they do not know."""

from typing import Any

import pytest

from tests.support.node_server import NodeServer
from tests.support.rest_device import Device


async def told(device: Device, message_id: str) -> list[dict[str, Any]]:
    return list((await device.call("GET", f"/messages/{message_id}"))["copies"])


async def states(device: Device, message_id: str) -> dict[str, str]:
    """By account."""
    return {each["userId"]: each["state"] for each in await told(device, message_id)}


async def read(*devices: Device) -> None:
    for device in devices:
        await device.collect(wait=20)
        await device.acknowledge()


async def befriend(one: Device, other: Device) -> None:
    await one.call("POST", "/friends/requests", {"userId": other.user_id})
    await other.call("POST", f"/friends/requests/{one.user_id}/accept")


async def test_a_stranger_sees_that_it_was_accepted_whatever_has_become_of_it(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    laptop = await node_server.add_linked_device(bo)
    await ann.fetch_device_list(bo.user_id, again=True)
    brief = (await ann.post(together, bo, b"gone at once", expiresInSeconds=1))["messageId"]
    long = (await ann.post(together, bo, b"hello"))["messageId"]
    before = [await told(ann, each) for each in (brief, long)]

    await read(bo, laptop)

    assert [await told(ann, each) for each in (brief, long)] == before
    for (entry,) in before:
        assert (set(entry), entry["state"]) == ({"userId", "state", "at"}, "accepted")
        assert entry["at"].endswith(":00.000Z")


async def test_it_is_delivered_once_the_other_has_answered_or_is_a_friend(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    message_id = (await ann.post(together, bo, b"hello"))["messageId"]
    await read(bo)
    await bo.post(together, ann, b"a receipt", lane="control")
    unanswered = await states(ann, message_id)

    await bo.post(together, ann, b"an answer")
    (entry,) = await told(ann, message_id)

    assert unanswered == {bo.user_id: "accepted"}
    assert (set(entry), entry["state"]) == ({"userId", "state", "at"}, "delivered")
    assert entry["at"].endswith(":00.000Z")


async def test_whose_setting_is_off_shows_nothing_to_friends_either(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    await befriend(ann, bo)
    message_id = (await ann.post(together, bo, b"hello"))["messageId"]
    await read(bo)
    as_friend = await states(ann, message_id)

    await bo.call("PATCH", "/account", {"settings": {"deliveryReceipts": False}})

    assert (as_friend, await states(ann, message_id)) == ({bo.user_id: "delivered"}, {bo.user_id: "accepted"})
    await bo.call("PATCH", "/account", {"settings": {"deliveryReceipts": None}})
    assert await states(ann, message_id) == {bo.user_id: "delivered"}


@pytest.mark.parametrize("is_asker", [True, False], ids=["blocks", "is blocked"])
async def test_nothing_crosses_a_block_in_a_group_either(node_server: NodeServer, is_asker: bool) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    await befriend(ann, bo)
    asked = {"kind": "group", "memberIds": [bo.user_id], "sealedInfo": None}
    group = str((await ann.call("POST", "/conversations", asked))["conversationId"])
    for each in (together, group):
        await bo.post(each, ann, b"an answer")
    messages = [(await ann.post(each, bo, b"hello"))["messageId"] for each in (together, group)]
    await read(bo)
    before = [await states(ann, each) for each in messages]

    blocker, blocked = (ann, bo) if is_asker else (bo, ann)
    await blocker.call("PUT", f"/blocks/{blocked.user_id}")

    assert before == [{bo.user_id: "delivered"}] * 2
    assert [await states(ann, each) for each in messages] == [{bo.user_id: "accepted"}] * 2
