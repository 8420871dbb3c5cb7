"""Somebody else has got hold of the number: what they can do, what the owner hears, and what happens once the PIN is given."""

import asyncio

import pytest

from tests.support.database_dump import dump_all_rows
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, RequestRefused


PIN, WRONG = "739251", "958310"
DEVICE = {"name": "another phone", "platform": "cli"}
#: What proving a number may touch; nothing in them says anything about devices, sessions or keys.
KNOCKING = {"otp_challenge", "otp_sent", "otp_breaker", "registration", "notice", "account_event"}


@pytest.fixture
async def ann(node_server: NodeServer) -> Device:
    """Somebody whose registration lock is set."""
    device = await node_server.node.sign_up()
    await device.call("PUT", "/account/pin", {"pin": PIN, "registrationLock": True})
    return device


async def prove(node_server: NodeServer, number: str) -> Body:
    """The answer to somebody who has the number."""
    challenge = await node_server.node.call("POST", "/auth/request-otp", {"phoneNumber": number})
    body = {
        "challengeId": challenge["challengeId"],
        "otp": await node_server.node.latest_code(number),
        "device": DEVICE,
    }
    return await node_server.node.call("POST", "/auth/verify-otp", body)


async def unlock(node_server: NodeServer, token: str, pin: str = PIN) -> Body:
    return await node_server.node.call(
        "POST", "/auth/unlock", {"registrationToken": token, "pin": pin, "device": DEVICE}
    )


async def refusal(node_server: NodeServer, token: str, pin: str = PIN) -> tuple[int, object]:
    with pytest.raises(RequestRefused) as refused:
        await unlock(node_server, token, pin)
    return refused.value.status, refused.value.code


async def notices(node_server: NodeServer, device: Device) -> list[Body]:
    """What stands in the mailbox of this device."""
    await node_server.services.notice_poster.post_pending()
    page = await device.call("GET", "/mailbox?wait=2")
    return [entry["notice"] for entry in page["entries"] if "notice" in entry]


async def test_the_number_alone_changes_nothing(node_server: NodeServer, ann: Device) -> None:
    before = await dump_all_rows()

    asked = await prove(node_server, ann.number)

    after = await dump_all_rows()
    assert asked == {**asked, "requiresPin": True, "expiresInSeconds": 600, "userId": None}
    assert set(asked) == {"requiresPin", "registrationToken", "expiresInSeconds", "userId"}
    assert {table for table in after if after[table] != before[table]} <= KNOCKING
    assert asked["registrationToken"] not in str(after)
    assert await ann.call("GET", "/devices")


async def test_the_owner_hears_of_it_and_of_every_wrong_pin(node_server: NodeServer, ann: Device) -> None:
    token = (await prove(node_server, ann.number))["registrationToken"]
    for _ in range(2):
        assert await refusal(node_server, token, WRONG) == (403, "INVALID_PIN")

    assert await notices(node_server, ann) == [
        {"name": "registrationAttempted"},
        {"name": "pinFailed", "attemptsRemaining": 9},
        {"name": "pinFailed", "attemptsRemaining": 8},
    ]
    events = [event["name"] for event in (await ann.call("GET", "/account/events"))["events"]]
    assert sorted(events[:3]) == ["pinWrong", "pinWrong", "registrationLocked"]


async def test_ten_wrong_pins_close_the_door_also_to_new_tokens(node_server: NodeServer, ann: Device) -> None:
    first = (await prove(node_server, ann.number))["registrationToken"]
    for _ in range(10):
        assert await refusal(node_server, first, WRONG) == (403, "INVALID_PIN")

    second = (await prove(node_server, ann.number))["registrationToken"]
    for token in (first, second):
        assert await refusal(node_server, token) == (423, "PIN_LOCKED")
    assert (await ann.call("GET", "/account/pin"))["attemptsRemaining"] == 10
    assert await ann.call("POST", "/account/pin/verify", {"pin": PIN}) == {"verified": True}


async def test_the_pin_opens_one_session_and_peers_learn_of_the_new_identity(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    await ann.call("PUT", "/account/pin", {"pin": PIN, "registrationLock": True})
    token = (await prove(node_server, ann.number))["registrationToken"]

    tries = await asyncio.gather(*(unlock(node_server, token) for _ in range(50)), return_exceptions=True)

    sessions = [each for each in tries if isinstance(each, dict)]
    assert [(each["userId"], each["deviceId"], each["isNewUser"]) for each in sessions] == [(ann.user_id, 1, False)]
    lost = {(each.status, each.code) for each in tries if isinstance(each, RequestRefused)}
    assert (lost, len(tries) - len(sessions)) == ({(401, "INVALID_TOKEN")}, 49)
    with pytest.raises(RequestRefused):
        await ann.call("GET", "/account")
    new = Device(node_server.node, ann.number, sessions[0])
    standing = await new.call("GET", "/account/pin")
    assert standing == {"isSet": True, "registrationLock": True, "attemptsRemaining": 10, "lockedUntil": None}
    (changed,) = [each for each in await notices(node_server, bo) if each["name"] == "devicesChanged"][-1:]
    assert (changed["userId"], changed["identityChanged"]) == (ann.user_id, True)


async def test_what_is_no_registration_token_opens_nothing(node_server: NodeServer, ann: Device) -> None:
    asked = (await prove(node_server, ann.number))["registrationToken"]
    for token in ("x" * 43, ann.token[:100], str(ann.session["refreshToken"])):
        assert await refusal(node_server, token) == (401, "INVALID_TOKEN")
    with pytest.raises(RequestRefused) as refused:
        await node_server.node.call("GET", "/account", None, asked)
    assert refused.value.code == "INVALID_TOKEN"
