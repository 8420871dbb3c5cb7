"""Posting as a client meets it, over REST and over sockets: docs/protocol.md, "Post"."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.support.device_keys import base64_text
from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, RequestRefused


async def refused(device: Device, body: Body) -> RequestRefused:
    """What this post is refused with, by both doors alike."""
    with pytest.raises(RequestRefused) as by_rest:
        await device.call("POST", "/messages", body)
    line = await DeviceSocket.connect_and_resume(device, codec="json")
    with pytest.raises(RequestRefused) as by_frame:
        await line.request("post", **body)
    await line.close()
    assert {**by_rest.value.body, "request_id": ""} == {**by_frame.value.body, "request_id": ""}
    return by_rest.value


async def test_an_accepted_post_is_delivered_with_what_it_said(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    body = ann.build_post(together, [bo.user_id], b"hello", lane="control", expiresInSeconds=3600)
    body["recipients"][0]["devices"][0]["kind"] = 255

    accepted = await ann.call("POST", "/messages", body)
    page = await bo.collect(wait=20)

    assert accepted | {"acceptedAt": ""} == {
        "messageId": body["messageId"],
        "acceptedAt": "",
        "copies": 1,
        "isRepeat": False,
        "skipped": [],
    }
    (entry,) = page["entries"]
    assert (entry["seq"], entry["senderId"], entry["senderDeviceId"]) == (1, ann.user_id, 1)
    assert (entry["messageId"], entry["conversationId"]) == (body["messageId"], together)
    assert (entry["lane"], entry["kind"], entry["postedAt"]) == ("control", 255, accepted["acceptedAt"])
    assert bo.contents == [b"hello"]


async def test_a_post_reaches_every_device_of_both_people(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    tablet, laptop = await node_server.add_linked_device(ann), await node_server.add_linked_device(bo)
    for user in (ann.user_id, bo.user_id):
        await ann.fetch_device_list(user, again=True)
    body = ann.build_post(together, [ann.user_id, bo.user_id], b"hello")
    del body["recipients"][0]["devices"][0]

    accepted = await ann.call("POST", "/messages", body)

    assert accepted["copies"] == 3
    for device in (tablet, bo, laptop):
        await device.collect(wait=20)
        assert device.contents == [b"hello"]
    assert (await ann.collect())["entries"] == []


async def test_shared_content_reaches_all_devices_from_one_copy(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    laptop = await node_server.add_linked_device(bo)
    await ann.fetch_device_list(bo.user_id, again=True)
    body = ann.build_post(together, [bo.user_id], b"") | {"content": base64_text(b"shared")}
    body["recipients"][0].pop("epoch")
    for device in body["recipients"][0]["devices"]:
        del device["content"]

    accepted = await ann.call("POST", "/messages", body)

    assert accepted["copies"] == 2
    for device in (bo, laptop):
        await device.collect(wait=20)
        assert device.contents == [b"shared"]


async def test_the_same_post_again_has_the_same_answer(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    body = ann.build_post(together, [bo.user_id], b"hello")
    line = await DeviceSocket.connect_and_resume(ann)

    first = await ann.call("POST", "/messages", body)
    binary = ann.build_post(together, [bo.user_id], b"hello", messageId=body["messageId"])
    by_frame, by_rest = await asyncio.gather(line.request("post", **binary), ann.call("POST", "/messages", body))

    assert by_frame == by_rest == first | {"isRepeat": True}
    await bo.collect(wait=20)
    assert bo.contents == [b"hello"]
    await line.close()


async def test_another_body_under_the_same_id_is_a_mismatch(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    body = ann.build_post(together, [bo.user_id], b"hello")
    await ann.call("POST", "/messages", body)

    refusal = await refused(ann, ann.build_post(together, [bo.user_id], b"other", messageId=body["messageId"]))

    assert (refusal.code, refusal.status) == ("IDEMPOTENCY_MISMATCH", 409)


async def test_stale_devices_are_told_exactly_and_the_id_stays_free(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    body = ann.build_post(together, [bo.user_id], b"hello")
    laptop = await node_server.add_linked_device(bo)
    body["recipients"][0]["devices"][0]["registrationId"] = bo.keys.registration_id % 16380 + 1
    body["recipients"][0]["devices"].append(body["recipients"][0]["devices"][0] | {"deviceId": 9})

    refusal = await refused(ann, body)

    known = await ann.fetch_device_list(bo.user_id, again=True)
    own = await ann.fetch_device_list(ann.user_id)
    assert (refusal.code, refusal.status) == ("STALE_DEVICES", 409)
    told = {name: refusal.body[name] for name in ("missing", "extra", "stale", "epochs", "conversationVersion")}
    assert told == {
        "missing": [{"userId": bo.user_id, "deviceId": 2, "registrationId": laptop.keys.registration_id}],
        "extra": [{"userId": bo.user_id, "deviceId": 9}],
        "stale": [{"userId": bo.user_id, "deviceId": 1, "registrationId": bo.keys.registration_id}],
        "epochs": {ann.user_id: own["epoch"], bo.user_id: known["epoch"]},
        "conversationVersion": 1,
    }
    fresh = ann.build_post(together, [bo.user_id], b"hello", messageId=body["messageId"])
    assert not (await ann.call("POST", "/messages", fresh))["isRepeat"]


async def test_a_repeat_is_answered_though_the_recipient_is_another_now(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    body = ann.build_post(together, [bo.user_id], b"hello")
    first = await ann.call("POST", "/messages", body)
    await node_server.node.sign_up(bo.number)

    again = await ann.call("POST", "/messages", body)
    refusal = await refused(ann, ann.build_post(together, [bo.user_id], b"new"))

    assert again == first | {"isRepeat": True}
    assert refusal.code == "STALE_DEVICES"


async def test_a_foreign_conversation_is_refused_like_none(node_server: NodeServer) -> None:
    _, bo, together = await node_server.sign_up_pair()
    cy = await node_server.node.sign_up()
    await cy.fetch_device_list(bo.user_id)

    for conversation in (together, str(uuid.uuid4())):
        refusal = await refused(cy, cy.build_post(conversation, [bo.user_id], b"hello"))
        assert (refusal.code, refusal.status) == ("NOT_A_MEMBER", 403)


async def test_who_is_no_member_is_not_found_like_nobody(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    cy = await node_server.node.sign_up()
    await ann.fetch_device_list(cy.user_id)
    ann.device_lists[str(uuid.UUID(int=5))] = ann.device_lists[cy.user_id]

    for stranger in (cy.user_id, str(uuid.UUID(int=5))):
        refusal = await refused(ann, ann.build_post(together, [bo.user_id, stranger], b"hello"))
        assert (refusal.code, refusal.status) == ("NOT_FOUND", 404)


def change(body: Body, path: str, value: Any) -> None:
    """Put `value` where the path of names leads; `None` takes it away."""
    *way, last = path.split(".")
    place: Any = body
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    if value is None:
        del place[last]
    else:
        place[last] = value


DEVICE = "recipients.0.devices.0"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("messageId", None),
        ("messageId", "not-a-uuid"),
        ("messageId", "0198C2D4-7A00-7000-8000-000000000000"),
        ("conversationId", 7),
        ("conversationVersion", -1),
        ("lane", "signal"),
        ("urgent", "yes"),
        ("expiresInSeconds", 0),
        ("expiresInSeconds", 2_592_001),
        ("expiresInSeconds", 1.5),
        ("recipients", []),
        ("recipients", {}),
        ("more", 1),
        ("recipients.0.epoch", -1),
        (f"{DEVICE}.deviceId", 0),
        (f"{DEVICE}.deviceId", 128),
        (f"{DEVICE}.kind", 256),
        (f"{DEVICE}.content", None),
        (f"{DEVICE}.content", "not base64"),
        (f"{DEVICE}.content", "_-__"),
        (f"{DEVICE}.content", base64_text(bytes(65_537))),
        (f"{DEVICE}.registrationId", True),
    ],
)
async def test_a_post_of_the_wrong_shape_is_refused(sqlite_node_server: NodeServer, path: str, value: Any) -> None:
    ann = await sqlite_node_server.node.sign_up()
    ann.device_lists[ann.user_id] = await ann.fetch_device_list(ann.user_id)
    body = ann.build_post(str(uuid.uuid4()), [ann.user_id], b"hello")
    change(body, path, value)

    refusal = await refused(ann, body)

    assert (refusal.code, refusal.status) == ("INVALID_REQUEST", 400)


async def test_the_largest_content_is_taken(sqlite_node_server: NodeServer) -> None:
    ann, bo, together = await sqlite_node_server.sign_up_pair()

    await ann.post(together, bo, b"x" * 65_536)
    await bo.collect(wait=20)

    assert bo.contents == [b"x" * 65_536]


async def test_a_client_that_leaves_in_mid_post_has_posted(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    line = await DeviceSocket.connect_and_resume(ann)
    body = ann.build_post(together, [bo.user_id], b"hello")

    await line.send("post", **body)
    await line.close()
    await bo.collect(wait=20)
    again = await ann.call(
        "POST", "/messages", ann.build_post(together, [bo.user_id], b"hello", messageId=body["messageId"])
    )

    assert bo.contents == [b"hello"]
    assert again["isRepeat"]


async def states(device: Device, message_id: str) -> list[tuple[str, int | None, str]]:
    """What became of the copies for each own device, and for each other account."""
    copies = (await device.call("GET", f"/messages/{message_id}"))["copies"]
    return [(copy["userId"], copy.get("deviceId"), copy["state"]) for copy in copies]


async def test_the_sender_follows_copies_for_own_devices_to_their_end(node_server: NodeServer) -> None:
    ann, _, _ = await node_server.sign_up_pair()
    laptop, tablet = await node_server.add_linked_device(ann), await node_server.add_linked_device(ann, 3)
    await ann.fetch_device_list(ann.user_id, again=True)
    body = ann.build_post(ann.user_id, [ann.user_id], b"hello")
    body["recipients"][0]["devices"] = [each for each in body["recipients"][0]["devices"] if each["deviceId"] > 1]
    message_id = (await ann.call("POST", "/messages", body))["messageId"]

    for device in (laptop, tablet):
        await device.collect(wait=20)
    deposited = await states(ann, message_id)
    await laptop.acknowledge()
    await tablet.call("POST", "/mailbox/park", {"seq": 1, "reason": "unreadable"})

    assert deposited == [(ann.user_id, 2, "deposited"), (ann.user_id, 3, "deposited")]
    assert await states(ann, message_id) == [(ann.user_id, 2, "acknowledged"), (ann.user_id, 3, "dropped")]


async def test_only_the_sending_account_may_ask_what_became_of_a_message(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    tablet = await node_server.add_linked_device(ann)
    body = ann.build_post(together, [bo.user_id], b"hello")
    await ann.fetch_device_list(ann.user_id, again=True)
    own = ann.build_post(together, [ann.user_id], b"hello")["recipients"][0]
    own["devices"] = [device for device in own["devices"] if device["deviceId"] == 2]
    body["recipients"].append(own)
    await ann.call("POST", "/messages", body)

    assert len(await states(tablet, body["messageId"])) == 2
    for stranger, message in ((bo, body["messageId"]), (ann, str(uuid.uuid4()))):
        with pytest.raises(RequestRefused) as refusal:
            await states(stranger, message)
        assert (refusal.value.status, refusal.value.code) == (404, "NOT_FOUND")


async def test_many_posters_at_once_keep_everybodys_order(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    lines = [await DeviceSocket.connect_and_resume(ann), await DeviceSocket.connect_and_resume(bo)]

    async def post_all(line: DeviceSocket, other: Device) -> None:
        bodies = [line.device.build_post(together, [other.user_id], b"%d" % n) for n in range(60)]
        await asyncio.gather(*(line.request("post", **body) for body in bodies))

    await asyncio.gather(post_all(lines[0], bo), post_all(lines[1], ann))
    for line in lines:
        await line.wait_for_entries(60)

    assert ann.contents == bo.contents == [b"%d" % n for n in range(60)]
    for line in lines:
        await line.close()
