"""Recovery codes over REST, on a whole node: a new primary device, the registration lock, and equal answers to all wrong codes."""

import pytest

from tests.support.joining import DEVICE, join, recover
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, NodeClient, RequestRefused


PIN = "739251"
WRONG = "0000-0000-0000-0000-0000-0000-01Y8-N1N3"


async def refusal(node: NodeClient, code: str, **name: str) -> tuple[int, Body]:
    with pytest.raises(RequestRefused) as refused:
        await recover(node, code, **name)
    body = refused.value.body
    assert body.pop("request_id")
    return refused.value.status, body


async def test_a_recovery_ends_all_other_devices_tells_peers_and_gives_the_next_code(node_server: NodeServer) -> None:
    ann, bo = await join(node_server, username="ann"), await node_server.node.sign_up()
    await ann.upload_keys()
    await ann.fetch_device_list(bo.user_id)
    await ann.open_direct(bo)

    fresh = await recover(node_server.node, ann.session["recoveryCode"].replace("-", " ").lower(), username="Ann")

    assert (fresh["userId"], fresh["isNewUser"], fresh["deviceId"]) == (ann.user_id, False, 1)
    with pytest.raises(RequestRefused):
        await ann.call("GET", "/account")
    await node_server.services.notice_poster.post_pending()
    notices = [entry["notice"] for entry in (await bo.collect(wait=5))["entries"]]
    assert {"name": "devicesChanged", "userId": ann.user_id, "identityChanged": True}.items() <= notices[-1].items()
    events = await node_server.node.call("GET", "/account/events", token=fresh["accessToken"])
    assert [each["name"] for each in events["events"]][:2] == ["recovered", "signedUp"]
    assert (await refusal(node_server.node, ann.session["recoveryCode"], userId=ann.user_id))[0] == 403
    assert (await recover(node_server.node, fresh["recoveryCode"], userId=ann.user_id))["userId"] == ann.user_id


async def test_a_wrong_code_an_unknown_name_and_an_account_without_a_code_get_the_same_answers(
    node_server: NodeServer,
) -> None:
    await join(node_server, username="ann")
    bo = await node_server.node.sign_up(with_keys=False)
    names = ({"username": "ann"}, {"username": "nobody"}, {"userId": bo.user_id})

    answers = [[await refusal(node_server.node, WRONG, **name) for name in names] for _ in range(6)]

    for left, alike in zip(range(4, -1, -1), answers, strict=False):
        expected = {
            "error": "The name or the recovery code is wrong.",
            "error_code": "INVALID_RECOVERY_CODE",
            "attempts_remaining": left,
        }
        assert alike == [(403, expected)] * 3
    assert {(status, body["error_code"]) for status, body in answers[5]} == {(429, "RATE_LIMITED")}
    assert all(3590 < body["retry_after_seconds"] <= 3600 for _, body in answers[5])


async def test_a_right_code_waits_too_once_five_were_wrong_and_restores_the_tries_before(
    node_server: NodeServer,
) -> None:
    ann = await join(node_server, username="ann")
    for _ in range(4):
        await refusal(node_server.node, "not a code", username="ann")
    fresh = await recover(node_server.node, ann.session["recoveryCode"], username="ann")
    for _ in range(5):
        await refusal(node_server.node, WRONG, username="ann")

    assert (await refusal(node_server.node, fresh["recoveryCode"], username="ann"))[0] == 429


async def test_the_registration_lock_asks_for_the_pin_and_the_code_is_used_with_it(node_server: NodeServer) -> None:
    ann = await join(node_server, username="ann")
    code = ann.session["recoveryCode"]
    await ann.call("PUT", "/account/pin", {"pin": PIN, "registrationLock": True})

    asked = await recover(node_server.node, code, username="ann")

    assert (asked["requiresPin"], asked["userId"]) == (True, None)
    assert (await ann.call("GET", "/account"))["username"] == "ann"
    unlock = {"registrationToken": asked["registrationToken"], "device": DEVICE}
    with pytest.raises(RequestRefused) as refused:
        await node_server.node.call("POST", "/auth/unlock", {**unlock, "pin": "739252"})
    assert refused.value.code == "INVALID_PIN"
    fresh = await node_server.node.call("POST", "/auth/unlock", {**unlock, "pin": PIN})
    assert fresh["recoveryCode"] != code
    assert (await refusal(node_server.node, code, username="ann"))[0] == 403
    assert (await recover(node_server.node, fresh["recoveryCode"], username="ann"))["requiresPin"]


async def test_a_code_that_was_replaced_meanwhile_does_not_pass_the_lock(node_server: NodeServer) -> None:
    ann = await join(node_server, username="ann")
    await ann.call("PUT", "/account/pin", {"pin": PIN, "registrationLock": True})
    asked = await recover(node_server.node, ann.session["recoveryCode"], username="ann")
    await ann.call("POST", "/account/recovery-code", {"pin": PIN})

    body = {"registrationToken": asked["registrationToken"], "pin": PIN, "device": DEVICE}
    with pytest.raises(RequestRefused) as refused:
        await node_server.node.call("POST", "/auth/unlock", body)

    assert refused.value.code == "INVALID_TOKEN"
    assert (await ann.call("GET", "/account"))["username"] == "ann"


async def test_a_new_code_needs_the_pin_and_ends_the_old_one(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up(with_keys=False)
    first = (await ann.call("POST", "/account/recovery-code"))["recoveryCode"]
    await ann.call("PUT", "/account/pin", {"pin": PIN})

    for body in ({}, {"pin": "739252"}):
        with pytest.raises(RequestRefused) as refused:
            await ann.call("POST", "/account/recovery-code", body)
        assert refused.value.code == "INVALID_PIN"
    second = (await ann.call("POST", "/account/recovery-code", {"pin": PIN}))["recoveryCode"]

    assert (await refusal(node_server.node, first, userId=ann.user_id))[0] == 403
    assert (await recover(node_server.node, second, userId=ann.user_id))["userId"] == ann.user_id


async def test_one_name_is_needed(node_server: NodeServer) -> None:
    ann = await join(node_server, username="ann")

    for names in ({}, {"username": "ann", "userId": ann.user_id}):
        status, body = await refusal(node_server.node, WRONG, **names)
        assert (status, [each["field"] for each in body["fields"]]) == (400, ["username", "userId"])
