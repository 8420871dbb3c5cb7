"""Contract of stores for the registration lock: the PIN is required before anything changes, and an unlock token is valid once."""

import asyncio
from datetime import datetime, timedelta

import pytest

from tests.support.account_harness import AccountStores, new_device, stored_number
from tests.support.database_dump import dump_all_rows
from tests.support.fake_clock import NOON
from tests.support.pin_notices import pin_events, pin_notices
from vyry.accounts.account import SignupResult
from vyry.accounts.pin import Guesser, NewPin, PinTryLimit, Verifier
from vyry.accounts.registration_lock import RegistrationLocked, StoredUnlockToken, UnlockTarget
from vyry.errors import InvalidToken, PinRequired
from vyry.kernel.ids import UserId
from vyry.storage.pins import TortoisePins


WEEK = timedelta(days=7)
PIN = Verifier("the pin", 1)
TEN_MINUTES = timedelta(seconds=600)


@pytest.fixture
async def owner(stores: AccountStores) -> UserId:
    """An account with a PIN and a registration lock, last seen on the day of NOON."""
    user_id = (await stores.sign_up()).user_id
    await stores.pins.add(NewPin(Guesser(user_id), NOON, PIN, registration_lock=True))
    return user_id


async def open_lock(stores: AccountStores, user_id: UserId, token: str = "t", at: datetime = NOON) -> str:
    """Save an unlock token of this account, and return it."""
    await stores.locks.save_token(user_id, StoredUnlockToken(token, at + TEN_MINUTES), at)
    return token


async def unlock(
    stores: AccountStores, token: str = "t", proven: str | None = PIN.text, at: datetime = NOON
) -> SignupResult:
    return await stores.accounts.unlock(token, proven, new_device(f"r-{token}-{at}"), at)


async def test_a_lock_holds_before_anything_has_changed(stores: AccountStores, owner: UserId) -> None:
    before = await dump_all_rows() if isinstance(stores.pins, TortoisePins) else None
    listing = await stores.devices.list(owner)

    with pytest.raises(RegistrationLocked) as held:
        await stores.sign_up(refresh="thief", at=NOON + WEEK)

    assert held.value.account_id == owner
    assert await stores.devices.list(owner) == listing
    assert before is None or await dump_all_rows() == before


async def test_a_lock_holds_for_seven_days_after_any_device_was_last_seen(stores: AccountStores, owner: UserId) -> None:
    later = NOON + timedelta(days=3)
    await stores.sessions.record_last_seen([stores.last_device], later.date())
    await stores.devices.end(owner, stores.last_device, later)

    with pytest.raises(RegistrationLocked):
        await stores.sign_up(refresh="r1", at=later + WEEK)
    made = await stores.sign_up(refresh="r2", at=later + WEEK + timedelta(days=1))

    assert (made.user_id, made.is_new_user) == (owner, False)


async def test_who_signs_up_to_an_account_that_was_left_gets_it_without_the_old_pin(
    stores: AccountStores, owner: UserId
) -> None:
    await stores.sign_up(refresh="r1", at=NOON + WEEK + timedelta(days=1))

    assert await stores.pins.load(owner) is None
    assert (await pin_events(stores, owner))[-1] == "pinRemoved"


async def test_a_pin_without_a_lock_outlives_a_sign_up_with_its_tries(stores: AccountStores, owner: UserId) -> None:
    await stores.pins.replace(NewPin(Guesser(owner), NOON, PIN, registration_lock=False), PIN)
    await stores.pins.count_try(owner, PinTryLimit(), NOON)

    await stores.sign_up(refresh="r1", at=NOON + WEEK)

    record = await stores.pins.load(owner)
    assert record is not None
    assert record.wrong_tries == 1


async def test_a_held_lock_is_told_to_the_devices_and_noted(stores: AccountStores, owner: UserId) -> None:
    await open_lock(stores, owner)

    assert (await pin_notices(stores, owner, without=None))[-1] == {"name": "registrationAttempted"}
    assert (await pin_events(stores, owner))[-1] == "registrationLocked"


async def test_a_token_waits_ten_minutes(stores: AccountStores, owner: UserId) -> None:
    await open_lock(stores, owner)
    last = NOON + TEN_MINUTES - timedelta(microseconds=1)

    assert await stores.locks.find_pending("t", last) == UnlockTarget(owner, is_locked=True)
    assert await stores.locks.find_pending("t", NOON + TEN_MINUTES) is None
    assert await stores.locks.find_pending("another", NOON) is None
    with pytest.raises(InvalidToken):
        await unlock(stores, at=NOON + TEN_MINUTES)
    assert (await unlock(stores, at=last)).user_id == owner


async def test_of_fifty_with_the_right_pin_one_gets_in(stores: AccountStores, owner: UserId) -> None:
    await open_lock(stores, owner)

    outcomes = await asyncio.gather(
        *(stores.accounts.unlock("t", PIN.text, new_device(f"r{number}"), NOON) for number in range(50)),
        return_exceptions=True,
    )

    made = [each for each in outcomes if isinstance(each, SignupResult)]
    assert len(made) == 1
    assert [type(each) for each in outcomes if each not in made] == [InvalidToken] * 49
    assert len((await stores.devices.list(owner)).devices) == 1
    assert await stores.pins.load(owner) is not None


async def test_without_the_pin_the_lock_stands_and_the_token_stays_good(stores: AccountStores, owner: UserId) -> None:
    await open_lock(stores, owner)

    for proven in (None, "the pin before"):
        with pytest.raises(PinRequired):
            await unlock(stores, proven=proven)

    assert len((await stores.devices.list(owner)).devices) == 1
    made = await unlock(stores)
    assert (made.user_id, made.device_id, made.is_new_user, len(made.ended_devices)) == (owner, 1, False, 1)


async def test_a_sign_up_voids_all_tokens_that_were_given_before(stores: AccountStores, owner: UserId) -> None:
    await open_lock(stores, owner, "thief")
    await open_lock(stores, owner, "owner")

    await unlock(stores, "owner")

    with pytest.raises(InvalidToken):
        await unlock(stores, "thief")


async def test_where_no_lock_holds_any_more_the_token_is_enough(stores: AccountStores, owner: UserId) -> None:
    await open_lock(stores, owner)
    await stores.pins.remove(Guesser(owner), PIN, NOON)

    assert await stores.locks.find_pending("t", NOON) == UnlockTarget(owner, is_locked=False)
    assert (await unlock(stores, proven=None)).user_id == owner


async def test_a_lock_set_in_the_last_moment_holds_against_a_token(stores: AccountStores, owner: UserId) -> None:
    without = NewPin(Guesser(owner), NOON, PIN, registration_lock=False)
    await stores.pins.replace(without, PIN)
    await open_lock(stores, owner)

    outcomes = await asyncio.gather(
        stores.pins.replace(NewPin(Guesser(owner), NOON, PIN, registration_lock=True), PIN),
        stores.accounts.sign_up(stored_number(), new_device("thief"), NOON),
        return_exceptions=True,
    )

    # Whichever was first: nobody is let in without the PIN after the owner was told that the lock is set.
    assert outcomes[0] is True
    assert isinstance(outcomes[1], (RegistrationLocked, SignupResult))
    with pytest.raises(RegistrationLocked):
        await stores.accounts.sign_up(stored_number(), new_device("later"), NOON)


async def test_a_deleted_account_lets_nobody_in(stores: AccountStores, owner: UserId) -> None:
    await open_lock(stores, owner)
    await stores.deletion.delete(owner, ["a" * 64], NOON)

    with pytest.raises(InvalidToken):
        await unlock(stores)
    assert (await stores.sign_up(refresh="r1")).is_new_user


async def test_a_clock_that_jumped_does_not_open_the_lock(stores: AccountStores, owner: UserId) -> None:
    later = NOON + timedelta(days=100)

    with pytest.raises(RegistrationLocked):
        await stores.accounts.sign_up(stored_number(), new_device("r1"), later, confirmed=NOON)
    await open_lock(stores, owner, at=later)
    with pytest.raises(PinRequired):
        await stores.accounts.unlock("t", None, new_device("r2"), later, confirmed=NOON)

    assert await stores.pins.load(owner) is not None
