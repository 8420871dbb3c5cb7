"""Sign-up at the registration lock, by the owner and by a new holder of the number."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.account_harness import NUMBER, AccountHarness, open_stores
from tests.support.pin_notices import pin_events, pin_notices
from vyry.accounts.account import Caller, Platform
from vyry.accounts.own_pin import PinUpdate
from vyry.accounts.signup import NewSession, PinChallenge
from vyry.errors import InvalidPin, InvalidToken, PinLocked


PIN, WRONG = "739251", "958310"


@pytest.fixture
async def harness() -> AsyncIterator[AccountHarness]:
    async with open_stores(None) as stores:
        yield AccountHarness(stores)


@pytest.fixture
async def owner(harness: AccountHarness) -> Caller:
    """The device of an account with a registration lock."""
    caller = await harness.sessions.authenticate((await harness.sign_up()).tokens.access)
    await harness.own_pin.set(caller, PinUpdate(PIN, None, registration_lock=True))
    return caller


async def prove_number(harness: AccountHarness, days: float = 0) -> NewSession | PinChallenge:
    """Sign up to the number again, so many days later."""
    harness.clock.advance(seconds=31, days=days)
    challenge = await harness.request_code(NUMBER)
    return await harness.registration.verify_otp(challenge, harness.otp_sender.sent[-1].otp, "phone", Platform.CLI)


async def registration_token(harness: AccountHarness, days: float = 0) -> str:
    """The unlock token of a sign-up that needs the PIN."""
    asked = await prove_number(harness, days)
    assert isinstance(asked, PinChallenge)
    assert asked.token not in repr(asked)
    return asked.token


async def unlock(harness: AccountHarness, token: str, pin: str = PIN) -> NewSession:
    return await harness.registration.unlock(token, pin, "phone", Platform.CLI)


async def test_a_number_alone_changes_nothing_and_the_owner_stays_signed_in(
    harness: AccountHarness, owner: Caller
) -> None:
    before = await harness.stores.devices.list(owner.user_id)

    await registration_token(harness)

    assert await harness.stores.devices.list(owner.user_id) == before
    assert harness.listener.ended_mailboxes == []
    await harness.sessions.check_still_valid(owner)
    assert (await pin_notices(harness.stores, owner.user_id))[-1] == {"name": "registrationAttempted"}


async def test_the_pin_passes_and_outlives_the_sign_up(harness: AccountHarness, owner: Caller) -> None:
    made = await unlock(harness, await registration_token(harness))

    assert (made.user_id, made.is_new_user, made.device_id) == (owner.user_id, False, 1)
    assert harness.listener.ended_mailboxes == [owner.mailbox]
    with pytest.raises(InvalidToken):
        await harness.sessions.check_still_valid(owner)
    caller = await harness.sessions.authenticate(made.tokens.access)
    await harness.own_pin.verify(caller, PIN)
    assert (await harness.own_pin.status(caller)).registration_lock


async def test_a_wrong_pin_leaves_the_token_good_and_is_told_to_the_owner(
    harness: AccountHarness, owner: Caller
) -> None:
    token = await registration_token(harness)

    with pytest.raises(InvalidPin) as refused:
        await unlock(harness, token, WRONG)

    assert refused.value.members == {"attempts_remaining": 9}
    assert (await pin_notices(harness.stores, owner.user_id, without=None))[-1] == {
        "name": "pinFailed",
        "attemptsRemaining": 9,
    }
    assert await pin_events(harness.stores, owner.user_id) == ["pinSet", "registrationLocked", "pinWrong"]
    await harness.sessions.check_still_valid(owner)
    assert (await unlock(harness, token)).user_id == owner.user_id


async def test_tries_of_all_tokens_at_the_lock_are_ten_and_cost_the_devices_none(
    harness: AccountHarness, owner: Caller
) -> None:
    first, second = await registration_token(harness), await registration_token(harness)

    for token in (first, second) * 5:
        with pytest.raises(InvalidPin):
            await unlock(harness, token, WRONG)

    for pin in (WRONG, PIN):
        with pytest.raises(PinLocked):
            await unlock(harness, second, pin)
    assert (await pin_events(harness.stores, owner.user_id))[-1] == "pinLocked"
    assert await harness.pins.tries_left(owner.user_id) == 10
    await harness.own_pin.verify(owner, PIN)
    with pytest.raises(PinLocked):
        await unlock(harness, second)


async def test_wrong_pins_on_a_stolen_device_do_not_keep_the_owner_out_at_the_lock(
    harness: AccountHarness, owner: Caller
) -> None:
    for _ in range(10):
        with pytest.raises(InvalidPin):
            await harness.own_pin.verify(owner, WRONG)

    made = await unlock(harness, await registration_token(harness))

    caller = await harness.sessions.authenticate(made.tokens.access)
    await harness.own_pin.verify(caller, PIN)
    with pytest.raises(InvalidToken):
        await harness.sessions.check_still_valid(owner)


async def test_another_pin_ends_the_pause_at_the_lock(harness: AccountHarness, owner: Caller) -> None:
    token = await registration_token(harness)
    for _ in range(10):
        with pytest.raises(InvalidPin):
            await unlock(harness, token, WRONG)

    await harness.own_pin.set(owner, PinUpdate("another horse", PIN, None))

    assert (await unlock(harness, token, "another horse")).user_id == owner.user_id


async def test_a_used_false_or_expired_token_is_invalid(harness: AccountHarness, owner: Caller) -> None:
    token, other = await registration_token(harness), await registration_token(harness)
    await unlock(harness, token)

    for bad in (token, other, "no token", "\ud800"):
        with pytest.raises(InvalidToken):
            await unlock(harness, bad)
    late = await registration_token(harness)
    harness.clock.advance(seconds=600)
    with pytest.raises(InvalidToken):
        await unlock(harness, late)
    with pytest.raises(InvalidToken):
        await unlock(harness, late, WRONG)
    assert await harness.pins.tries_left(owner.user_id) == 10


async def test_of_fifty_with_the_right_pin_one_gets_in_and_no_try_is_lost(
    harness: AccountHarness, owner: Caller
) -> None:
    token = await registration_token(harness)

    outcomes = await asyncio.gather(*(unlock(harness, token) for _ in range(50)), return_exceptions=True)

    made = [each for each in outcomes if isinstance(each, NewSession)]
    assert len(made) == 1
    assert {type(each) for each in outcomes if each not in made} == {InvalidToken}
    assert await harness.pins.tries_left(owner.user_id) == 10


@pytest.mark.parametrize("days", [0, 3, 6.9])
async def test_the_lock_holds_for_a_week_after_the_account_was_last_seen(
    harness: AccountHarness, owner: Caller, days: float
) -> None:
    await registration_token(harness, days)
    assert owner.is_primary


async def test_after_a_week_the_number_is_enough_and_the_old_pin_is_gone(
    harness: AccountHarness, owner: Caller
) -> None:
    made = await prove_number(harness, days=8)

    assert isinstance(made, NewSession)
    assert made.user_id == owner.user_id
    caller = await harness.sessions.authenticate(made.tokens.access)
    assert not (await harness.own_pin.status(caller)).is_set


async def test_a_lock_taken_off_meanwhile_asks_for_nothing(harness: AccountHarness, owner: Caller) -> None:
    token = await registration_token(harness)
    await harness.own_pin.set(owner, PinUpdate(PIN, PIN, registration_lock=False))

    assert (await unlock(harness, token, WRONG)).user_id == owner.user_id


async def test_a_pin_changed_meanwhile_is_the_one_that_counts(harness: AccountHarness, owner: Caller) -> None:
    token = await registration_token(harness)
    await harness.own_pin.set(owner, PinUpdate("another horse", PIN, None))

    with pytest.raises(InvalidPin):
        await unlock(harness, token, PIN)
    assert (await unlock(harness, token, "another horse")).user_id == owner.user_id


async def test_a_pin_without_a_lock_asks_nobody(harness: AccountHarness) -> None:
    caller = await harness.sessions.authenticate((await harness.sign_up()).tokens.access)
    await harness.own_pin.set(caller, PinUpdate(PIN, None, None))

    made = await prove_number(harness)

    assert isinstance(made, NewSession)
    again = await harness.sessions.authenticate(made.tokens.access)
    assert (await harness.own_pin.status(again)).is_set
