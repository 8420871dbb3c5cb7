"""Accounts without a number over REST, on a whole node: they join, live and go as any other."""

from typing import Any

import pytest

from tests.support.device_keys import base64_text
from tests.support.joining import DEVICE, invite, join
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, NodeClient, RequestRefused
from vyry.storage.sign_up_models import SignupInvitationRow


ATTEMPT = "0198c2d4-7a00-4000-8000-000000000000"


async def refusal(node: NodeClient, path: str, body: Body, token: str | None = None) -> tuple[int, Body]:
    """How the node refuses this."""
    with pytest.raises(RequestRefused) as refused:
        await node.call("POST", path, body, token)
    return refused.value.status, {name: value for name, value in refused.value.body.items() if name != "request_id"}


async def test_a_person_joins_by_invitation_and_talks_to_a_person_with_a_number(node_server: NodeServer) -> None:
    ann = await join(node_server, username="Ann", displayName="Ann")
    await ann.upload_keys()
    bo = await node_server.node.sign_up()
    await ann.fetch_device_list(bo.user_id)

    conversation = await ann.open_direct(bo)
    await ann.post(conversation, bo, b"hello")

    page = await bo.collect(wait=5)
    assert [each["content"] for each in page["entries"]] == [base64_text(b"hello")]
    shown = await ann.call("GET", "/account")
    assert (shown["phoneNumber"], shown["username"], shown["displayName"]) == (None, "ann", "Ann")
    assert (ann.session["isNewUser"], ann.session["requiresProfileSetup"], ann.device_id) == (True, False, 1)


async def test_every_token_that_is_not_good_gets_the_same_answer(node_server: NodeServer) -> None:
    used, revoked, expired = [await invite(node_server.settings) for _ in range(3)]
    await join(node_server, used)
    rows = await SignupInvitationRow.all().order_by("id")
    await SignupInvitationRow.filter(id=rows[1].id).update(revoked_at=rows[1].created_at)
    await SignupInvitationRow.filter(id=rows[2].id).update(expires_at=rows[2].created_at)

    answers = [
        await refusal(node_server.node, "/auth/join", {"inviteToken": token, "device": DEVICE})
        for token in (used, revoked, expired, "AAAAAAAAAAAAAAAAAAAAAA", "x")
    ]

    assert answers == [(404, {"error": "The resource was not found.", "error_code": "NOT_FOUND"})] * 5


async def test_a_name_that_is_taken_leaves_the_invitation_good(node_server: NodeServer) -> None:
    await join(node_server, username="ann")
    token = await invite(node_server.settings)
    wanted = {"inviteToken": token, "username": "ANN", "attemptId": ATTEMPT, "device": DEVICE}

    assert (await refusal(node_server.node, "/auth/join", wanted))[1]["error_code"] == "USERNAME_TAKEN"

    assert (await join(node_server, token, username="bob", attemptId=ATTEMPT)).session["isNewUser"]


async def test_a_repeated_attempt_gets_the_same_account_with_fresh_tokens_and_code(node_server: NodeServer) -> None:
    token = await invite(node_server.settings)
    lost = await join(node_server, token, username="ann", attemptId=ATTEMPT)

    again = await join(node_server, token, username="ann", attemptId=ATTEMPT)

    assert (again.user_id, again.session["isNewUser"]) == (lost.user_id, True)
    assert again.session["recoveryCode"] != lost.session["recoveryCode"]
    assert (await again.call("GET", "/account"))["username"] == "ann"
    with pytest.raises(RequestRefused):
        await lost.call("GET", "/account")
    other = {"inviteToken": token, "attemptId": ATTEMPT.replace("9", "8"), "device": DEVICE}
    assert (await refusal(node_server.node, "/auth/join", other))[0] == 404


async def test_a_body_without_a_token_or_with_more_than_the_shape_is_refused(node_server: NodeServer) -> None:
    for body, named in (({}, "inviteToken"), ({"inviteToken": "x", "phoneNumber": "+41"}, "phoneNumber")):
        status, said = await refusal(node_server.node, "/auth/join", {**body, "device": DEVICE})
        assert (status, said["fields"][0]["field"]) == (400, named)


async def test_the_node_says_what_a_client_needs_before_it_signs_up(node_server: NodeServer) -> None:
    said = await node_server.node.call("GET", "/node")

    assert (said["name"], said["signUp"], said["calls"]) == ("Vyry", ["number", "invitation"], False)
    assert (said["limits"]["attachmentDays"], said["limits"]["contentBytes"]) == (30, 65_536)
    assert len(said["vapidKey"]) == 88


async def delete(device: Device, body: Body) -> None:
    assert await device.call("POST", "/account/delete", body) == {}
    with pytest.raises(RequestRefused):
        await device.call("GET", "/account")


async def test_an_account_without_a_number_is_deleted_by_its_recovery_code_or_its_pin(node_server: NodeServer) -> None:
    ann, bo = await join(node_server, username="ann"), await join(node_server)
    await bo.call("PUT", "/account/pin", {"pin": "739251"})
    tries: list[tuple[Device, dict[str, Any], int, str]] = [
        (ann, {}, 400, "INVALID_REQUEST"),
        (ann, {"challengeId": ATTEMPT, "otp": "123456"}, 400, "INVALID_REQUEST"),
        (ann, {"recoveryCode": bo.session["recoveryCode"]}, 403, "INVALID_RECOVERY_CODE"),
        (ann, {"pin": "739251"}, 403, "INVALID_PIN"),
        (bo, {"pin": "739252"}, 403, "INVALID_PIN"),
    ]

    for device, body, status, code in tries:
        answer = await refusal(device.node, "/account/delete", body, device.token)
        assert (answer[0], answer[1]["error_code"]) == (status, code)

    await delete(ann, {"recoveryCode": ann.session["recoveryCode"].lower()})
    await delete(bo, {"pin": "739251"})
    with pytest.raises(RequestRefused):
        await join(node_server, username="ann")


async def test_an_account_with_a_number_is_deleted_by_a_recovery_code_beside_its_pin(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up(with_keys=False)
    code = (await ann.call("POST", "/account/recovery-code", {}))["recoveryCode"]
    await ann.call("PUT", "/account/pin", {"pin": "739251"})

    for body, expected in (({"recoveryCode": code}, 403), ({"pin": "739251"}, 400)):
        assert (await refusal(ann.node, "/account/delete", body, ann.token))[0] == expected

    await delete(ann, {"recoveryCode": code, "pin": "739251"})


async def test_a_forgotten_pin_is_reset_by_the_recovery_code(node_server: NodeServer) -> None:
    ann = await join(node_server)
    code = ann.session["recoveryCode"]
    await ann.call("PUT", "/account/pin", {"pin": "739251"})

    wrong = await refusal(ann.node, "/account/pin/reset", {"recoveryCode": "x", "newPin": "a new horse"}, ann.token)
    assert (wrong[0], wrong[1]["error_code"], wrong[1]["attempts_remaining"]) == (403, "INVALID_RECOVERY_CODE", 4)
    assert (await refusal(ann.node, "/account/pin/reset", {"newPin": "a new horse"}, ann.token))[0] == 400

    await ann.call("POST", "/account/pin/reset", {"recoveryCode": code, "newPin": "a new horse"})
    assert await ann.call("POST", "/account/pin/verify", {"pin": "a new horse"}) == {"verified": True}


async def test_an_account_without_a_number_has_its_archive_and_its_limits(node_server: NodeServer) -> None:
    ann = await join(node_server, attemptId=ATTEMPT)

    archive = await ann.call("GET", "/account/export")

    assert (archive["account"]["phoneNumber"], archive["codes"], archive["signupInvitations"]) == (None, [], [])
    assert (len(archive["signupAttempts"]), archive["recoveryCode"] is None) == (1, False)
    assert {each["name"] for each in (await ann.call("GET", "/limits"))["limits"]} >= {"join", "member_invites"}
