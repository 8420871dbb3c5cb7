"""People over REST and socket: found, friends, blocked; and that a block looks like somebody who does not exist."""

import re
import uuid
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.support.device_keys import base64_text
from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, RequestRefused, unused_number
from vyry.kernel.ids import UserId
from vyry.storage.blocks import TortoiseBlocks
from vyry.storage.models import AccountRow


NOBODY = str(uuid.uuid4())
NAME = "Bo.The_9"


async def refused(device: Device, method: str, path: str, body: Body | None = None) -> str:
    """The code of the refusal of this call."""
    with pytest.raises(RequestRefused) as refusal:
        await device.call(method, path, body)
    return str(refusal.value.code)


async def befriend(ann: Device, bo: Device) -> None:
    for one, other in ((ann, bo), (bo, ann)):
        await one.call("POST", "/friends/requests", {"userId": other.user_id})


async def test_a_username_is_found_however_it_is_written(sqlite_node_server: NodeServer) -> None:
    ann, bo = [await sqlite_node_server.node.sign_up(with_keys=False) for _ in range(2)]
    await bo.call("PATCH", "/account", {"username": NAME, "displayName": "Bo", "bio": "not told"})

    found = await ann.call("GET", f"/users/by-username/{NAME.upper()}")

    expected = {"userId": bo.user_id, "username": NAME.lower(), "displayName": "Bo", "pictureAttachmentId": None}
    assert found == expected
    for strange in ("bo", "bo.the_", "%C5%BFtrange", "a%20b", "nobody"):
        assert await refused(ann, "GET", f"/users/by-username/{strange}") == "NOT_FOUND"


async def test_numbers_find_those_who_let_themselves_be_found(node_server: NodeServer) -> None:
    ann, bo, cy = [await node_server.node.sign_up(with_keys=False) for _ in range(3)]
    await bo.call("PATCH", "/account", {"displayName": "Bo"})
    await cy.call("PATCH", "/account", {"settings": {"discoverableByPhone": False}})
    asked = [unused_number(), bo.number, cy.number, ann.number, bo.number]

    found = await ann.call("POST", "/users/lookup", {"phoneNumbers": asked})

    expected = [(bo.number, bo.user_id, "Bo"), (ann.number, ann.user_id, None)]
    assert [tuple(each.values()) for each in found["users"]] == expected
    await cy.call("PATCH", "/account", {"settings": {"discoverableByPhone": True}})
    assert len((await ann.call("POST", "/users/lookup", {"phoneNumbers": [cy.number]}))["users"]) == 1
    assert await ann.call("POST", "/users/lookup", {"phoneNumbers": []}) == {"users": []}


async def test_a_text_that_is_no_number_is_pointed_out(sqlite_node_server: NodeServer) -> None:
    ann = await sqlite_node_server.node.sign_up(with_keys=False)

    with pytest.raises(RequestRefused) as refusal:
        await ann.call("POST", "/users/lookup", {"phoneNumbers": [ann.number, "0151 23456", "+49"]})

    assert [each["field"] for each in refusal.value.body["fields"]] == ["phoneNumbers.1", "phoneNumbers.2"]
    assert await refused(ann, "POST", "/users/lookup", {"phoneNumbers": [ann.number] * 101}) == "INVALID_REQUEST"


async def test_profiles_are_for_oneself_friends_and_those_one_talks_with(sqlite_node_server: NodeServer) -> None:
    ann, bo, cy = [await sqlite_node_server.node.sign_up(with_keys=False) for _ in range(3)]
    await ann.call("PATCH", "/account", {"bio": "hello", "sealedProfile": base64_text(b"sealed")})
    assert await refused(bo, "GET", f"/users/{ann.user_id}") == "NOT_FOUND"
    await befriend(ann, bo)
    await ann.open_direct(cy)

    seen = [await each.call("GET", f"/users/{ann.user_id}") for each in (ann, bo, cy)]

    assert (seen[0]["bio"], seen[0]["sealedProfile"]) == ("hello", base64_text(b"sealed"))
    assert seen[0] == seen[1] == seen[2]


async def test_a_request_is_seen_by_both_and_answered_by_one(sqlite_node_server: NodeServer) -> None:
    ann, bo = [await sqlite_node_server.node.sign_up(with_keys=False) for _ in range(2)]
    await ann.call("PATCH", "/account", {"displayName": "Ann"})

    asked = await ann.call("POST", "/friends/requests", {"userId": bo.user_id})
    incoming = (await bo.call("GET", "/friends/requests"))["requests"]
    outgoing = (await ann.call("GET", "/friends/requests?direction=outgoing"))["requests"]
    await bo.call("POST", f"/friends/requests/{ann.user_id}/accept")

    assert asked == {"userId": bo.user_id, "status": "requested"}
    assert [(each["userId"], each["displayName"]) for each in incoming] == [(ann.user_id, "Ann")]
    assert [(each["userId"], each["displayName"]) for each in outgoing] == [(bo.user_id, None)]
    assert (await ann.call("GET", "/friends"))["friends"][0]["userId"] == bo.user_id
    again = await bo.call("POST", "/friends/requests", {"userId": ann.user_id})
    assert again == {"userId": ann.user_id, "status": "friends"}


async def test_requests_are_declined_cancelled_and_friendships_ended(sqlite_node_server: NodeServer) -> None:
    ann, bo = [await sqlite_node_server.node.sign_up(with_keys=False) for _ in range(2)]

    await ann.call("POST", "/friends/requests", {"userId": bo.user_id})
    await bo.call("POST", f"/friends/requests/{ann.user_id}/decline")
    await ann.call("POST", "/friends/requests", {"userId": bo.user_id})
    await ann.call("DELETE", f"/friends/requests/{bo.user_id}")

    assert (await bo.call("GET", "/friends/requests?direction=incoming"))["requests"] == []
    await befriend(ann, bo)
    await bo.call("DELETE", f"/friends/{ann.user_id}")
    assert (await ann.call("GET", "/friends"))["friends"] == []
    assert await refused(ann, "POST", "/friends/requests", {"userId": ann.user_id}) == "INVALID_REQUEST"


async def test_who_hears_from_friends_only_is_written_to_by_friends(sqlite_node_server: NodeServer) -> None:
    ann, bo = [await sqlite_node_server.node.sign_up(with_keys=False) for _ in range(2)]
    await bo.call("PATCH", "/account", {"settings": {"messagesFrom": "friends"}})
    wanted = {"kind": "direct", "userId": bo.user_id}

    assert await refused(ann, "POST", "/conversations", wanted) == "FORBIDDEN"
    await befriend(ann, bo)
    opened = await ann.open_direct(bo)
    await bo.call("DELETE", f"/friends/{ann.user_id}")

    assert await ann.open_direct(bo) == opened


async def test_a_block_is_kept_once_and_taken_back(sqlite_node_server: NodeServer) -> None:
    ann, bo = [await sqlite_node_server.node.sign_up(with_keys=False) for _ in range(2)]

    for _ in range(2):
        await ann.call("PUT", f"/blocks/{bo.user_id}")
    kept = (await ann.call("GET", "/blocks"))["blocks"]
    await ann.call("DELETE", f"/blocks/{bo.user_id}")

    assert [each["userId"] for each in kept] == [bo.user_id]
    assert (await ann.call("GET", "/blocks")) == {"blocks": [], "nextCursor": None}
    assert await refused(ann, "PUT", f"/blocks/{ann.user_id}") == "INVALID_REQUEST"


def calls(other: str, username: str, number: str) -> list[tuple[str, str, Body | None]]:
    """Every call in which somebody can be named."""
    return [
        ("GET", f"/users/by-username/{username}", None),
        ("POST", "/users/lookup", {"phoneNumbers": [number]}),
        ("GET", f"/users/{other}", None),
        ("POST", "/friends/requests", {"userId": other}),
        ("POST", f"/friends/requests/{other}/accept", {}),
        ("POST", f"/friends/requests/{other}/decline", {}),
        ("DELETE", f"/friends/requests/{other}", None),
        ("DELETE", f"/friends/{other}", None),
        ("DELETE", f"/blocks/{other}", None),
        ("POST", "/conversations", {"kind": "direct", "userId": other}),
        ("GET", f"/keys/{other}", None),
        ("POST", f"/keys/{other}/claim", {}),
    ]


async def said(device: Device, method: str, path: str, body: Body | None) -> tuple[int, str, dict[str, str]]:
    """The whole answer, byte for byte, but for its own id and date."""
    headers = {"Authorization": f"Bearer {device.token}"}
    url = f"{device.node.url}/api/v1{path}"
    async with device.node.http.request(method, url, json=body, headers=headers) as answer:
        text = await answer.text()
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in ("x-request-id", "date")}
    return answer.status, re.sub(r'"request_id":"[^"]*"', "", text), kept


@pytest.mark.parametrize("is_blocked", [True, False], ids=["the blocked", "the blocker"])
async def test_a_block_looks_like_nobody_in_every_answer(node_server: NodeServer, is_blocked: bool) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    await befriend(ann, bo)
    await bo.call("PATCH", "/account", {"username": "was_here"})
    blocker, blocked = (bo, ann) if is_blocked else (ann, bo)

    await blocker.call("PUT", f"/blocks/{blocked.user_id}")

    never = calls(NOBODY, "was_never", unused_number())
    for one, other in zip(calls(bo.user_id, "was_here", bo.number), never, strict=True):
        if is_blocked or "/blocks/" not in one[1]:
            assert await said(ann, *one) == await said(ann, *other)


async def test_posts_and_signals_between_them_find_nobody_until_it_is_taken_back(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    lines = [await DeviceSocket.connect_and_resume(each, codec="json") for each in (ann, bo)]
    await ann.post(together, bo, b"before")
    await bo.call("PUT", f"/blocks/{ann.user_id}")
    signal = {"callId": NOBODY, "kind": "offer", "content": lines[0].encode_bytes(b"sdp")}

    for device, line, other in ((ann, lines[0], bo), (bo, lines[1], ann)):
        body = device.build_post(together, [other.user_id], b"never", conversationVersion=1)
        by_socket = device.build_post(together, [other.user_id], b"never")
        assert await refused(device, "POST", "/messages", body) == "NOT_FOUND"
        for name, payload in (("post", by_socket), ("signal", signal | {"userId": other.user_id})):
            with pytest.raises(RequestRefused, match="NOT_FOUND"):
                await line.request(name, **payload)
        await line.send("typing", conversationId=together, isTyping=True)
        await line.request("ping")

    await bo.call("DELETE", f"/blocks/{ann.user_id}")
    await ann.post(together, bo, b"after")
    await lines[1].wait_for_entries(2)
    assert bo.contents == [b"before", b"after"]
    assert [frame["type"] for each in lines for frame in queued(each)] == []
    for line in lines:
        await line.close()


def queued(line: DeviceSocket) -> list[Body]:
    return [line.frames.get_nowait() for _ in range(line.frames.qsize())]


async def test_a_block_holds_at_once_on_a_node_that_remembers(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    await ann.post(together, bo, b"remembered now")

    # Another node takes the block, and its hint to this one is lost.
    await TortoiseBlocks().block(UserId(UUID(bo.user_id)), UserId(UUID(ann.user_id)), datetime.now(UTC))

    body = ann.build_post(together, [bo.user_id], b"never")
    assert await refused(ann, "POST", "/messages", body) == "NOT_FOUND"


async def test_who_is_blocked_hears_of_no_device_and_no_end(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    dee = await node_server.node.sign_up()
    await bo.open_direct(dee)
    await bo.call("PUT", f"/blocks/{ann.user_id}")

    again = await node_server.node.sign_up(bo.number)
    await node_server.services.notice_poster.post_pending()
    version = (await ann.call("GET", f"/conversations/{together}"))["version"]
    await delete(again)
    await node_server.services.notice_poster.post_pending()

    told = [entry["notice"]["name"] for entry in (await dee.collect(wait=5))["entries"]]
    assert (told[0], told[-1], version) == ("devicesChanged", "accountDeleted", 2)
    assert (await ann.collect())["entries"] == []


async def delete(device: Device) -> None:
    """End the account."""
    wanted = {"phoneNumber": device.number, "purpose": "deleteAccount"}
    challenge = await device.node.call("POST", "/auth/request-otp", wanted)
    proof = {"challengeId": challenge["challengeId"], "otp": await device.node.latest_code(device.number)}
    await device.call("POST", "/account/delete", proof)


async def test_numbers_that_are_asked_for_are_kept_nowhere(sqlite_node_server: NodeServer) -> None:
    ann = await sqlite_node_server.node.sign_up(with_keys=False)
    number = unused_number()
    before = await AccountRow.all().count()

    await ann.call("POST", "/users/lookup", {"phoneNumbers": [number]})

    folder = sqlite_node_server.settings.data_dir
    kept = [path.name for path in folder.rglob("*") if path.is_file() and number[1:].encode() in path.read_bytes()]
    assert (kept, await AccountRow.all().count()) == ([], before)
