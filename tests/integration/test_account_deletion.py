"""POST /account/delete: what proves that the owner wants it, and what happens at once."""

from typing import Any

import pytest

from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, RequestRefused


PIN = "739251"


async def code(device: Device, purpose: str = "deleteAccount", number: str | None = None) -> Body:
    """A challenge for this number (the own one), with the code that was sent."""
    number = number or device.number
    body = {"phoneNumber": number, "purpose": purpose}
    challenge = await device.node.call("POST", "/auth/request-otp", body)
    return {"challengeId": challenge["challengeId"], "otp": await device.node.latest_code(number)}


async def refusal(device: Device, body: Body) -> tuple[int, object]:
    """How POST /account/delete refuses this."""
    with pytest.raises(RequestRefused) as refused:
        await device.call("POST", "/account/delete", body)
    return refused.value.status, refused.value.code


async def test_the_own_code_deletes_and_ends_tokens_and_sockets_within_a_second(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    proof = await code(ann)
    line = await DeviceSocket.connect_and_resume(ann)

    assert await ann.call("POST", "/account/delete", proof) == {}

    assert await line.wait_closed(1) == 4401

    for method, path in (("GET", "/account"), ("GET", "/mailbox"), ("POST", "/auth/ws-ticket")):
        with pytest.raises(RequestRefused) as refused:
            await ann.call(method, path)
        assert refused.value.code == "INVALID_TOKEN"
    renewal = {"refreshToken": ann.session["refreshToken"], "attemptId": "0198c2d4-7a00-7000-8000-000000000000"}
    with pytest.raises(RequestRefused):
        await ann.node.call("POST", "/auth/refresh-token", renewal)
    assert (await node_server.node.sign_up(ann.number)).session["isNewUser"]


async def test_a_code_for_another_number_purpose_or_time_deletes_nothing(node_server: NodeServer) -> None:
    ann, bo = await node_server.node.sign_up(), await node_server.node.sign_up()
    good = await code(ann)
    wrong = f"{(int(good['otp']) + 1) % 10**6:06d}"
    tries: list[Any] = [await code(ann, number=bo.number), await code(ann, "pinReset"), {**good, "otp": wrong}]

    for body in tries:
        assert await refusal(ann, body) == (400, "INVALID_OTP")

    # The code for Bo's number was no guess at it: he may still use it.
    assert await bo.call("POST", "/account/delete", tries[0]) == {}
    assert await ann.call("POST", "/account/delete", good) == {}


async def test_a_pin_is_asked_for_and_a_wrong_one_leaves_the_code_good(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    await ann.call("PUT", "/account/pin", {"pin": PIN, "registrationLock": True})
    good = await code(ann)

    assert await refusal(ann, good) == (403, "INVALID_PIN")
    assert await refusal(ann, {**good, "pin": "739252"}) == (403, "INVALID_PIN")
    assert await ann.call("POST", "/account/delete", {**good, "pin": PIN}) == {}

    # Neither PIN nor lock outlive the account.
    assert (await node_server.node.sign_up(ann.number)).session["isNewUser"]


async def test_a_code_deletes_once(sqlite_node_server: NodeServer) -> None:
    ann = await sqlite_node_server.node.sign_up()
    good = await code(ann)

    await ann.call("POST", "/account/delete", good)
    again = await sqlite_node_server.node.sign_up(ann.number)

    assert await refusal(again, good) == (400, "INVALID_OTP")
