"""Firebase against a server that speaks its HTTP v1: token exchange, messages without content, and what its errors mean."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.support.push_server import PushServer, fcm_error, open_push_server
from tests.support.sms_provider_server import FaultHandler, drop_connection, respond_with
from vyry.clock import SystemClock
from vyry.delivery.push.fcm import FcmPusher, ServiceAccount
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import PushOutcome, PushResult


TARGET = PushTarget(PushKind.FCM, token="a token nobody else knows")


@pytest.fixture
async def services() -> AsyncIterator[PushServer]:
    async with open_push_server() as opened:
        yield opened


@pytest.fixture
async def pusher(services: PushServer) -> AsyncIterator[FcmPusher]:
    pusher = FcmPusher(ServiceAccount.read(services.service_account()), SystemClock(), services.url)
    yield pusher
    await pusher.close()


def failing(status: int, name: str, code: str | None = None) -> FaultHandler:
    response = fcm_error(status, name, code)
    return respond_with(status, response.body if isinstance(response.body, bytes) else b"")


async def test_a_message_has_a_priority_and_no_content(services: PushServer, pusher: FcmPusher) -> None:
    outcomes = [await pusher.push(TARGET, is_urgent=is_urgent) for is_urgent in (True, False)]

    urgent, quiet = services.fcm_messages
    assert outcomes == [PushOutcome(PushResult.SENT)] * 2
    assert urgent == {
        "token": TARGET.token,
        "data": {"wake": "1"},
        "android": {"priority": "HIGH", "ttl": "2419200s", "collapse_key": "mail"},
    }
    assert quiet["android"]["priority"] == "NORMAL"
    assert services.token_count == 1


async def test_a_token_that_was_withdrawn_is_fetched_anew(services: PushServer, pusher: FcmPusher) -> None:
    await pusher.push(TARGET, is_urgent=True)
    services.bearer = "another"

    refused = await pusher.push(TARGET, is_urgent=True)
    again = await pusher.push(TARGET, is_urgent=True)

    assert (refused.result, again.result, services.token_count) == (PushResult.LATER, PushResult.SENT, 2)


ANSWERS: dict[str, tuple[FaultHandler, PushOutcome]] = {
    "the app is gone": (failing(404, "NOT_FOUND", "UNREGISTERED"), PushOutcome(PushResult.GONE)),
    "the token is none": (failing(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), PushOutcome(PushResult.GONE)),
    "of another project": (failing(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), PushOutcome(PushResult.GONE)),
    "we may not": (failing(403, "PERMISSION_DENIED"), PushOutcome(PushResult.LATER)),
    "no such project": (failing(404, "NOT_FOUND"), PushOutcome(PushResult.LATER)),
    "too many": (respond_with(429, b"{}", **{"Retry-After": "60"}), PushOutcome(PushResult.LATER, 60.0)),
    "away": (failing(503, "UNAVAILABLE", "UNAVAILABLE"), PushOutcome(PushResult.LATER)),
    "talks nonsense": (respond_with(404, b"<html>"), PushOutcome(PushResult.LATER)),
    "talks other nonsense": (respond_with(404, b'{"error": {"details": [7]}}'), PushOutcome(PushResult.LATER)),
    "sends us elsewhere": (respond_with(307, b"", Location="/elsewhere"), PushOutcome(PushResult.LATER)),
    "hangs up": (drop_connection, PushOutcome(PushResult.LATER)),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_each_answer_has_its_meaning(services: PushServer, pusher: FcmPusher, name: str) -> None:
    await pusher.push(TARGET, is_urgent=True)
    trouble, expected = ANSWERS[name]
    services.fault = trouble

    with capture_logs() as logs:
        found = await pusher.push(TARGET, is_urgent=True)

    assert found == expected
    assert [each for each in (TARGET.token, services.bearer) if str(each) in str(logs)] == []


async def test_a_redirect_is_not_followed_with_a_token_in_hand(services: PushServer, pusher: FcmPusher) -> None:
    async with open_push_server() as elsewhere:
        services.fault = respond_with(307, b"", Location=f"{elsewhere.url}/elsewhere")
        while_exchanging = await pusher.push(TARGET, is_urgent=True)
        services.fault = None
        await pusher.push(TARGET, is_urgent=True)
        services.fault = respond_with(308, b"", Location=f"{elsewhere.url}/elsewhere")
        while_sending = await pusher.push(TARGET, is_urgent=True)

    assert ({while_exchanging.result, while_sending.result}, elsewhere.request_count) == ({PushResult.LATER}, 0)


async def test_an_outage_is_told_once_and_closes_the_line(services: PushServer, pusher: FcmPusher) -> None:
    services.fault = respond_with(500, b"{}")

    with capture_logs() as logs:
        fates = [(await pusher.push(TARGET, is_urgent=True)).result for _ in range(6)]

    assert fates == [PushResult.LATER] * 3 + [PushResult.CIRCUIT_OPEN] * 3
    assert [each["event"] for each in logs] == ["dependency_down"]
    assert services.request_count == 3


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"project_id": 7}', b"-----BEGIN PRIVATE KEY-----"])
def test_what_is_no_service_account_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ServiceAccount.read(content)
