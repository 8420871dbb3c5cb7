"""Firebase against a server that speaks its HTTP v1: token exchange, messages without content, and what its errors mean."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.carrier_house import Trouble, answering, hanging_up
from tests.push_house import PushHouse, fcm_error, open_push_house
from vyry.adapters.fcm import Fcm, ServiceAccount
from vyry.clock import SystemClock
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.waking import Fate, Outcome


TARGET = PushTarget(PushKind.FCM, token="a token nobody else knows")


@pytest.fixture
async def services() -> AsyncIterator[PushHouse]:
    async with open_push_house() as opened:
        yield opened


@pytest.fixture
async def pusher(services: PushHouse) -> AsyncIterator[Fcm]:
    pusher = Fcm(ServiceAccount.read(services.account()), SystemClock(), services.url)
    yield pusher
    await pusher.close()


def failing(status: int, name: str, code: str | None = None) -> Trouble:
    response = fcm_error(status, name, code)
    return answering(status, response.body if isinstance(response.body, bytes) else b"")


async def test_a_message_has_a_priority_and_no_content(services: PushHouse, pusher: Fcm) -> None:
    outcomes = [await pusher.push(TARGET, is_urgent=is_urgent) for is_urgent in (True, False)]

    urgent, quiet = services.messages
    assert outcomes == [Outcome(Fate.SENT)] * 2
    assert urgent == {
        "token": TARGET.token,
        "data": {"wake": "1"},
        "android": {"priority": "HIGH", "ttl": "2419200s", "collapse_key": "mail"},
    }
    assert quiet["android"]["priority"] == "NORMAL"
    assert services.tokens_given == 1


async def test_a_token_that_was_withdrawn_is_fetched_anew(services: PushHouse, pusher: Fcm) -> None:
    await pusher.push(TARGET, is_urgent=True)
    services.bearer = "another"

    refused = await pusher.push(TARGET, is_urgent=True)
    again = await pusher.push(TARGET, is_urgent=True)

    assert (refused.fate, again.fate, services.tokens_given) == (Fate.LATER, Fate.SENT, 2)


ANSWERS: dict[str, tuple[Trouble, Outcome]] = {
    "the app is gone": (failing(404, "NOT_FOUND", "UNREGISTERED"), Outcome(Fate.GONE)),
    "the token is none": (failing(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), Outcome(Fate.GONE)),
    "of another project": (failing(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), Outcome(Fate.GONE)),
    "we may not": (failing(403, "PERMISSION_DENIED"), Outcome(Fate.LATER)),
    "no such project": (failing(404, "NOT_FOUND"), Outcome(Fate.LATER)),
    "too many": (answering(429, b"{}", **{"Retry-After": "60"}), Outcome(Fate.LATER, 60.0)),
    "away": (failing(503, "UNAVAILABLE", "UNAVAILABLE"), Outcome(Fate.LATER)),
    "talks nonsense": (answering(404, b"<html>"), Outcome(Fate.LATER)),
    "talks other nonsense": (answering(404, b'{"error": {"details": [7]}}'), Outcome(Fate.LATER)),
    "sends us elsewhere": (answering(307, b"", Location="/elsewhere"), Outcome(Fate.LATER)),
    "hangs up": (hanging_up, Outcome(Fate.LATER)),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_each_answer_has_its_meaning(services: PushHouse, pusher: Fcm, name: str) -> None:
    await pusher.push(TARGET, is_urgent=True)
    trouble, expected = ANSWERS[name]
    services.trouble = trouble

    with capture_logs() as logs:
        found = await pusher.push(TARGET, is_urgent=True)

    assert found == expected
    assert [each for each in (TARGET.token, services.bearer) if str(each) in str(logs)] == []


async def test_a_redirect_is_not_followed_with_a_token_in_hand(services: PushHouse, pusher: Fcm) -> None:
    async with open_push_house() as elsewhere:
        services.trouble = answering(307, b"", Location=f"{elsewhere.url}/elsewhere")
        while_exchanging = await pusher.push(TARGET, is_urgent=True)
        services.trouble = None
        await pusher.push(TARGET, is_urgent=True)
        services.trouble = answering(308, b"", Location=f"{elsewhere.url}/elsewhere")
        while_sending = await pusher.push(TARGET, is_urgent=True)

    assert ({while_exchanging.fate, while_sending.fate}, elsewhere.asked) == ({Fate.LATER}, 0)


async def test_an_outage_is_told_once_and_closes_the_line(services: PushHouse, pusher: Fcm) -> None:
    services.trouble = answering(500, b"{}")

    with capture_logs() as logs:
        fates = [(await pusher.push(TARGET, is_urgent=True)).fate for _ in range(6)]

    assert fates == [Fate.LATER] * 3 + [Fate.CLOSED] * 3
    assert [each["event"] for each in logs] == ["away"]
    assert services.asked == 3


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"project_id": 7}', b"-----BEGIN PRIVATE KEY-----"])
def test_what_is_no_service_account_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ServiceAccount.read(content)
