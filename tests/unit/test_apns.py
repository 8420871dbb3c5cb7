"""Apple's service against a server that speaks HTTP/2 over TLS: one connection, its end, provider tokens, and what its reasons mean."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.account_room import StandingClock
from tests.apple_house import KEY_ID, P8, TEAM, AppleHouse, open_apple_house
from vyry.adapters.apns import Apns, ApnsKey
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.waking import Fate, Outcome


TARGET = PushTarget(PushKind.APNS, token="ab" * 32, topic="org.example.chat")


@pytest.fixture
async def apple(tmp_path: Path) -> AsyncIterator[AppleHouse]:
    async with open_apple_house(tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
async def pusher(apple: AppleHouse, clock: StandingClock) -> AsyncIterator[Apns]:
    pusher = Apns(ApnsKey(KEY_ID, TEAM, P8), clock, apple.url, apple.tls)
    yield pusher
    await pusher.close()


async def test_a_notification_says_nothing(apple: AppleHouse, pusher: Apns) -> None:
    outcomes = [await pusher.push(TARGET, is_urgent=is_urgent) for is_urgent in (True, False)]

    urgent, quiet = apple.pushed
    assert outcomes == [Outcome(Fate.SENT)] * 2
    assert urgent.path == f"/3/device/{TARGET.token}"
    assert urgent.body["aps"]["alert"] == {"body": "You may have new messages"}
    assert quiet.body == {"aps": {"content-available": 1}}
    names = ("apns-topic", "apns-push-type", "apns-priority", "apns-collapse-id")
    assert [urgent.headers[name] for name in names] == [TARGET.topic, "alert", "10", "mail"]
    assert [quiet.headers[name] for name in names] == [TARGET.topic, "background", "5", "mail"]


async def test_many_at_once_share_one_connection(apple: AppleHouse, pusher: Apns) -> None:
    found = await asyncio.gather(*(pusher.push(TARGET, is_urgent=True) for _ in range(40)))

    assert {each.fate for each in found} == {Fate.SENT}
    assert (apple.connections, len(apple.pushed)) == (1, 40)


async def test_a_connection_that_says_goodbye_is_made_anew(apple: AppleHouse, pusher: Apns) -> None:
    apple.says_goodbye = True

    found = [(await pusher.push(TARGET, is_urgent=True)).fate for _ in range(4)]

    assert (found[0], found[-1], apple.connections) == (Fate.SENT, Fate.SENT, 2)


async def test_a_provider_token_serves_for_half_an_hour(apple: AppleHouse, pusher: Apns, clock: StandingClock) -> None:
    for minutes in (0, 20, 20):
        clock.advance(minutes=minutes)
        await pusher.push(TARGET, is_urgent=True)

    first, same, later = (each.headers["authorization"] for each in apple.pushed)
    assert first == same != later


ANSWERS: dict[str, tuple[tuple[int, str], Fate]] = {
    "unregistered": ((410, "Unregistered"), Fate.GONE),
    "no token": ((400, "BadDeviceToken"), Fate.GONE),
    "another app": ((400, "DeviceTokenNotForTopic"), Fate.GONE),
    "something else": ((400, "BadPriority"), Fate.REFUSED),
    "our token": ((403, "ExpiredProviderToken"), Fate.LATER),
    "our key": ((403, "InvalidProviderToken"), Fate.LATER),
    "too many": ((429, "TooManyRequests"), Fate.LATER),
    "broken": ((500, "InternalServerError"), Fate.LATER),
    "away": ((503, "ServiceUnavailable"), Fate.LATER),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_each_reason_has_its_meaning(apple: AppleHouse, pusher: Apns, name: str) -> None:
    answer, expected = ANSWERS[name]
    apple.answers.append(answer)

    with capture_logs() as logs:
        found = await pusher.push(TARGET, is_urgent=True)

    assert found.fate is expected
    assert str(TARGET.token) not in str(logs)


async def test_a_service_that_hangs_holds_up_no_other_request(
    apple: AppleHouse, pusher: Apns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vyry.adapters.apns.TRY_SECONDS", 0.5)
    apple.answers.append(None)

    found = await asyncio.gather(*(pusher.push(TARGET, is_urgent=True) for _ in range(3)))

    assert sorted(each.fate.value for each in found) == ["later", "sent", "sent"]


async def test_an_outage_is_told_once_and_closes_the_line(apple: AppleHouse, pusher: Apns) -> None:
    apple.answers += [(503, "ServiceUnavailable")] * 3

    with capture_logs() as logs:
        fates = [(await pusher.push(TARGET, is_urgent=True)).fate for _ in range(5)]

    assert fates == [Fate.LATER] * 3 + [Fate.CLOSED] * 2
    assert [each["event"] for each in logs] == ["away"]


@pytest.mark.parametrize("token", ["../../3/other", "ab?x=y", "ab cd", ""])
async def test_a_token_that_is_none_is_no_part_of_a_path(apple: AppleHouse, pusher: Apns, token: str) -> None:
    found = await pusher.push(PushTarget(PushKind.APNS, token=token, topic="org.example.chat"), is_urgent=True)

    assert (found.fate, apple.pushed) == (Fate.GONE, [])


async def test_a_server_that_nobody_vouches_for_gets_nothing(apple: AppleHouse, clock: StandingClock) -> None:
    pusher = Apns(ApnsKey(KEY_ID, TEAM, P8), clock, apple.url)

    found = await pusher.push(TARGET, is_urgent=True)
    await pusher.close()

    assert (found.fate, apple.pushed) == (Fate.LATER, [])
