"""Apple's service against a server that speaks HTTP/2 over TLS: one connection, its end, provider tokens, and what its reasons mean."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.apns_server import APNS_KEY_PEM, KEY_ID, TEAM_ID, ApnsServer, open_apns_server
from tests.support.fake_clock import FakeClock
from vyry.delivery.push.apns import ApnsKey, ApnsPusher
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import PushOutcome, PushResult


TARGET = PushTarget(PushKind.APNS, token="ab" * 32, topic="org.example.chat")


@pytest.fixture
async def apple(tmp_path: Path) -> AsyncIterator[ApnsServer]:
    async with open_apns_server(tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def pusher(apple: ApnsServer, clock: FakeClock) -> AsyncIterator[ApnsPusher]:
    pusher = ApnsPusher(ApnsKey(KEY_ID, TEAM_ID, APNS_KEY_PEM), clock, apple.url, apple.tls)
    yield pusher
    await pusher.close()


async def test_a_notification_says_nothing(apple: ApnsServer, pusher: ApnsPusher) -> None:
    outcomes = [await pusher.push(TARGET, is_urgent=is_urgent) for is_urgent in (True, False)]

    urgent, quiet = apple.received
    assert outcomes == [PushOutcome(PushResult.SENT)] * 2
    assert urgent.path == f"/3/device/{TARGET.token}"
    assert urgent.body["aps"]["alert"] == {"body": "You may have new messages"}
    assert quiet.body == {"aps": {"content-available": 1}}
    names = ("apns-topic", "apns-push-type", "apns-priority", "apns-collapse-id")
    assert [urgent.headers[name] for name in names] == [TARGET.topic, "alert", "10", "mail"]
    assert [quiet.headers[name] for name in names] == [TARGET.topic, "background", "5", "mail"]


async def test_many_at_once_share_one_connection(apple: ApnsServer, pusher: ApnsPusher) -> None:
    found = await asyncio.gather(*(pusher.push(TARGET, is_urgent=True) for _ in range(40)))

    assert {each.result for each in found} == {PushResult.SENT}
    assert (apple.connections, len(apple.received)) == (1, 40)


async def test_a_connection_that_says_goodbye_is_made_anew(apple: ApnsServer, pusher: ApnsPusher) -> None:
    apple.sends_goaway = True

    found = [(await pusher.push(TARGET, is_urgent=True)).result for _ in range(4)]

    assert (found[0], found[-1], apple.connections) == (PushResult.SENT, PushResult.SENT, 2)


async def test_a_provider_token_serves_for_half_an_hour(
    apple: ApnsServer, pusher: ApnsPusher, clock: FakeClock
) -> None:
    for minutes in (0, 20, 20):
        clock.advance(minutes=minutes)
        await pusher.push(TARGET, is_urgent=True)

    first, same, later = (each.headers["authorization"] for each in apple.received)
    assert first == same != later


ANSWERS: dict[str, tuple[tuple[int, str], PushResult]] = {
    "unregistered": ((410, "Unregistered"), PushResult.GONE),
    "no token": ((400, "BadDeviceToken"), PushResult.GONE),
    "another app": ((400, "DeviceTokenNotForTopic"), PushResult.GONE),
    "something else": ((400, "BadPriority"), PushResult.REFUSED),
    "our token": ((403, "ExpiredProviderToken"), PushResult.LATER),
    "our key": ((403, "InvalidProviderToken"), PushResult.LATER),
    "too many": ((429, "TooManyRequests"), PushResult.LATER),
    "broken": ((500, "InternalServerError"), PushResult.LATER),
    "away": ((503, "ServiceUnavailable"), PushResult.LATER),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_each_reason_has_its_meaning(apple: ApnsServer, pusher: ApnsPusher, name: str) -> None:
    answer, expected = ANSWERS[name]
    apple.scripted_answers.append(answer)

    with capture_logs() as logs:
        found = await pusher.push(TARGET, is_urgent=True)

    assert found.result is expected
    assert str(TARGET.token) not in str(logs)


async def test_a_service_that_hangs_holds_up_no_other_request(
    apple: ApnsServer, pusher: ApnsPusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vyry.delivery.push.apns.TRY_SECONDS", 0.5)
    apple.scripted_answers.append(None)

    found = await asyncio.gather(*(pusher.push(TARGET, is_urgent=True) for _ in range(3)))

    assert sorted(each.result.value for each in found) == ["later", "sent", "sent"]


async def test_an_outage_is_told_once_and_closes_the_line(apple: ApnsServer, pusher: ApnsPusher) -> None:
    apple.scripted_answers += [(503, "ServiceUnavailable")] * 3

    with capture_logs() as logs:
        fates = [(await pusher.push(TARGET, is_urgent=True)).result for _ in range(5)]

    assert fates == [PushResult.LATER] * 3 + [PushResult.CIRCUIT_OPEN] * 2
    assert [each["event"] for each in logs] == ["dependency_down"]


@pytest.mark.parametrize("token", ["../../3/other", "ab?x=y", "ab cd", ""])
async def test_a_token_that_is_none_is_no_part_of_a_path(apple: ApnsServer, pusher: ApnsPusher, token: str) -> None:
    found = await pusher.push(PushTarget(PushKind.APNS, token=token, topic="org.example.chat"), is_urgent=True)

    assert (found.result, apple.received) == (PushResult.GONE, [])


async def test_a_server_that_nobody_vouches_for_gets_nothing(apple: ApnsServer, clock: FakeClock) -> None:
    pusher = ApnsPusher(ApnsKey(KEY_ID, TEAM_ID, APNS_KEY_PEM), clock, apple.url)

    found = await pusher.push(TARGET, is_urgent=True)
    await pusher.close()

    assert (found.result, apple.received) == (PushResult.LATER, [])
