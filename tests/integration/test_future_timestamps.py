"""What a clock that was ahead has dated counts against nobody for longer than its window, once the clock is right."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.support.account_harness import AccountStores, open_stores
from tests.support.database_dump import dump_all_rows
from tests.support.fake_clock import NOON
from vyry.accounts.otp import Challenge, Purpose
from vyry.accounts.otp_limits import CODE_LIFETIME, UNLIMITED, OtpCounterKeys, OtpLimits
from vyry.accounts.pin import Guesser, NewPin, PinLockout, PinTryLimit, Verifier
from vyry.accounts.usernames import RESERVATION
from vyry.devices.push_wakeups import WAKEUP_COOLDOWNS as WAKES_REST
from vyry.kernel.ids import new_id
from vyry.limits import QuotaWindow
from vyry.storage.account_upkeep import TortoiseAccountUpkeep
from vyry.storage.conversation_models import DeferredNoticeRow, ReservedUsernameRow
from vyry.storage.models import DeviceRow, OtpBreakerRow, OtpChallengeRow, PushWakeupRow, RefreshTokenRow


AHEAD = NOON + timedelta(days=2)
SUBJECTS = OtpCounterKeys("a" * 64, "b" * 64, "c" * 64, "d" * 64)
PACED = OtpLimits(number=(QuotaWindow(1, 30),), network=(), prefix=None, has_breaker=False)
LOCK = timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def stores(url: str) -> AsyncIterator[AccountStores]:
    async with open_stores(url) as stores:
        yield stores


def challenge() -> Challenge:
    return Challenge(new_id(), "a" * 64, b"s", Purpose.LOGIN, b"h", AHEAD, AHEAD + CODE_LIFETIME)


async def test_codes_sent_while_the_clock_was_ahead_count_as_sent_now(stores: AccountStores) -> None:
    await stores.otp.open_challenge(challenge(), SUBJECTS, UNLIMITED)
    _ = await OtpBreakerRow.create(area="d" * 64, until=AHEAD)

    await TortoiseAccountUpkeep().clamp_future_dates(NOON, LOCK, is_sure=False)

    assert list((await stores.otp.load_history(SUBJECTS, PACED, NOON + timedelta(seconds=1))).number) == [NOON]
    assert (await OtpBreakerRow.get(area="d" * 64)).until == NOON + timedelta(hours=1)
    assert (await OtpChallengeRow.all())[0].expires_at == NOON + CODE_LIFETIME


async def test_a_pin_locked_while_the_clock_was_ahead_is_locked_for_a_day_more(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    await stores.pins.add(NewPin(Guesser(user), NOON, Verifier("pin", 1)))
    await stores.pins.count_try(user, PinTryLimit(1), AHEAD)

    await TortoiseAccountUpkeep().clamp_future_dates(NOON, LOCK, is_sure=True)

    assert await stores.pins.count_try(user, PinTryLimit(1), NOON) == PinLockout(NOON + LOCK)


async def test_a_device_is_not_left_asleep_by_a_wake_up_planned_for_another_year(stores: AccountStores) -> None:
    await stores.sign_up()
    wake = PushWakeupRow(device=uuid4(), mailbox=1, due_at=AHEAD, rest_until=AHEAD + WAKES_REST[-1])
    await wake.save(force_create=True)

    await TortoiseAccountUpkeep().clamp_future_dates(NOON, LOCK, is_sure=False)

    await wake.refresh_from_db()
    assert (wake.due_at, wake.rest_until) == (NOON + WAKES_REST[-1], NOON + WAKES_REST[-1])


async def test_what_is_taken_away_once_it_is_over_waits_until_the_clock_is_sure(stores: AccountStores) -> None:
    await stores.sign_up(refresh="r0")
    await RefreshTokenRow.all().update(expires_at=NOON + timedelta(days=60))
    _ = await ReservedUsernameRow.create(
        hash="h", account_id=None, free_on=(AHEAD + RESERVATION).date() + timedelta(days=1)
    )
    before = await dump_all_rows()

    await TortoiseAccountUpkeep().clamp_future_dates(NOON, LOCK, is_sure=False)
    assert await dump_all_rows() == before
    await TortoiseAccountUpkeep().clamp_future_dates(NOON, LOCK, is_sure=True)

    assert (await RefreshTokenRow.all())[0].expires_at == NOON + timedelta(days=30)
    assert (await ReservedUsernameRow.all())[0].free_on == (NOON + RESERVATION).date() + timedelta(days=1)


async def test_a_device_seen_in_another_year_was_seen_today(stores: AccountStores) -> None:
    await stores.sign_up(at=NOON + timedelta(days=100))

    await TortoiseAccountUpkeep().clamp_future_dates(NOON, LOCK, is_sure=True)

    assert (await DeviceRow.all())[0].last_seen_on == NOON.date()


@pytest.mark.parametrize("is_at_lock", [False, True])
async def test_a_clock_that_is_wrong_and_behind_opens_no_lock_and_makes_no_device_idle(
    stores: AccountStores, *, is_at_lock: bool
) -> None:
    user = (await stores.sign_up()).user_id
    await stores.pins.add(NewPin(Guesser(user), NOON, Verifier("pin", 1)))
    await stores.pins.count_try(user, PinTryLimit(1), NOON, is_at_lock=is_at_lock)
    before = await dump_all_rows()

    await TortoiseAccountUpkeep().clamp_future_dates(NOON - timedelta(days=100), LOCK, is_sure=False)

    after = await dump_all_rows()
    assert (after["account_pin"], after["device"]) == (before["account_pin"], before["device"])


async def test_a_notice_claimed_while_the_clock_was_ahead_is_tried_again(stores: AccountStores) -> None:
    await stores.sign_up()
    held = DeferredNoticeRow(mailbox=1, subject="s", notice_id=uuid4(), body={}, try_at=AHEAD)
    await held.save(force_create=True)

    await TortoiseAccountUpkeep().clamp_future_dates(NOON, LOCK, is_sure=False)

    await held.refresh_from_db()
    assert held.try_at == NOON + timedelta(minutes=1)


async def test_nothing_dated_by_a_right_clock_is_moved(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    await stores.pins.add(NewPin(Guesser(user), NOON, Verifier("pin", 1)))
    await stores.pins.count_try(user, PinTryLimit(1), NOON)
    await stores.otp.open_challenge(challenge(), SUBJECTS, UNLIMITED)

    assert await TortoiseAccountUpkeep().clamp_future_dates(AHEAD, LOCK, is_sure=True) == 0
