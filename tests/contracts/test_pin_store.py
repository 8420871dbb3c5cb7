"""Contract of PinStore: a try is counted before the PIN is verified, atomically."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.account_harness import AccountStores
from tests.support.fake_clock import NOON
from tests.support.pin_notices import pin_events, pin_notices
from vyry.accounts.pin import CountedTry, Guesser, NewPin, PinLockout, PinRecord, PinTryLimit, Verifier, WrongTry
from vyry.kernel.ids import DeviceId, MailboxKey, new_id


TRIES = PinTryLimit(10, timedelta(days=1))
FIRST, SECOND = Verifier("first", 1), Verifier("second", 2)


@pytest.fixture
async def owner(stores: AccountStores) -> Guesser:
    """A device of an account."""
    user_id = (await stores.sign_up()).user_id
    return Guesser(user_id, DeviceId(1), MailboxKey(1))


def pin(owner: Guesser, verifier: Verifier = FIRST, *, lock: bool | None = None) -> NewPin:
    return NewPin(owner, NOON, verifier, lock)


async def test_without_a_pin_there_is_nothing_to_try(stores: AccountStores, owner: Guesser) -> None:
    assert await stores.pins.load(owner.account_id) is None
    assert await stores.pins.count_try(owner.account_id, TRIES, NOON) is None
    assert await stores.pins.restore_tries(owner.account_id, FIRST, FIRST) is False
    assert await stores.pins.replace(pin(owner, SECOND), FIRST) is False
    assert await stores.pins.remove(owner, FIRST, NOON) is False
    assert await pin_notices(stores, owner.account_id) == []


async def test_of_first_pins_at_once_one_is_set(stores: AccountStores, owner: Guesser) -> None:
    verifiers = [Verifier(f"v{number}", 1) for number in range(8)]

    added = await asyncio.gather(*(stores.pins.add(pin(owner, each)) for each in verifiers))

    record = await stores.pins.load(owner.account_id)
    assert record == PinRecord(verifiers[added.index(True)], registration_lock=False, wrong_tries=0, locked_until=None)
    assert added.count(True) == 1
    assert await pin_notices(stores, owner.account_id) == [{"name": "pinChanged", "change": "set"}]


async def test_tries_count_down_to_a_lock(stores: AccountStores, owner: Guesser) -> None:
    await stores.pins.add(pin(owner))

    trials = [await stores.pins.count_try(owner.account_id, TRIES, NOON) for _ in range(11)]

    until = NOON + timedelta(days=1)
    assert trials[:9] == [CountedTry(FIRST, left, None) for left in range(9, 0, -1)]
    assert trials[9:] == [CountedTry(FIRST, 0, until), PinLockout(until)]


async def test_sixty_tries_at_once_are_ten(stores: AccountStores, owner: Guesser) -> None:
    await stores.pins.add(pin(owner))

    taken = await asyncio.gather(*(stores.pins.count_try(owner.account_id, TRIES, NOON) for _ in range(60)))

    left = [each.tries_left for each in taken if isinstance(each, CountedTry)]
    assert sorted(left) == list(range(10))


async def test_a_lock_ends_with_all_tries(stores: AccountStores, owner: Guesser) -> None:
    await stores.pins.add(pin(owner))
    for _ in range(10):
        await stores.pins.count_try(owner.account_id, TRIES, NOON)
    end = NOON + TRIES.lock

    early = await stores.pins.count_try(owner.account_id, TRIES, end - timedelta(microseconds=1))
    later = await stores.pins.count_try(owner.account_id, TRIES, end)

    assert early == PinLockout(end)
    assert later == CountedTry(FIRST, 9, None)


async def test_a_lock_lasts_from_the_moment_given(stores: AccountStores, owner: Guesser) -> None:
    await stores.pins.add(pin(owner))
    late = NOON + timedelta(days=2)

    last = [await stores.pins.count_try(owner.account_id, TRIES, NOON, locked_from=late) for _ in range(10)][-1]

    assert last == CountedTry(FIRST, 0, late + TRIES.lock)
    assert await stores.pins.count_try(owner.account_id, TRIES, late) == PinLockout(late + TRIES.lock)


async def test_a_right_pin_gives_all_tries_back_and_may_be_stored_anew(stores: AccountStores, owner: Guesser) -> None:
    await stores.pins.add(pin(owner, lock=True))
    for _ in range(10):
        await stores.pins.count_try(owner.account_id, TRIES, NOON)

    assert await stores.pins.restore_tries(owner.account_id, FIRST, SECOND) is True

    renewed = PinRecord(SECOND, registration_lock=True, wrong_tries=0, locked_until=None)
    assert await stores.pins.load(owner.account_id) == renewed
    await stores.pins.count_try(owner.account_id, TRIES, NOON)
    assert await stores.pins.restore_tries(owner.account_id, FIRST, FIRST) is False
    assert await stores.pins.load(owner.account_id) == replace(renewed, wrong_tries=1)


async def test_a_pin_is_replaced_by_whoever_proved_the_present_one(stores: AccountStores, owner: Guesser) -> None:
    await stores.pins.add(pin(owner, lock=True))
    await stores.pins.count_try(owner.account_id, TRIES, NOON)
    others = [Verifier(f"v{number}", 1) for number in range(8)]

    replaced = await asyncio.gather(*(stores.pins.replace(pin(owner, each), FIRST) for each in others))

    winner = others[replaced.index(True)]
    assert replaced.count(True) == 1
    assert await stores.pins.load(owner.account_id) == PinRecord(
        winner, registration_lock=True, wrong_tries=0, locked_until=None
    )
    assert await stores.pins.replace(pin(owner, SECOND, lock=False), winner) is True
    record = await stores.pins.load(owner.account_id)
    assert record is not None
    assert record.registration_lock is False


async def test_a_reset_lifts_the_lock_and_keeps_the_registration_lock(stores: AccountStores, owner: Guesser) -> None:
    await stores.pins.reset(pin(owner))
    await stores.pins.replace(pin(owner, SECOND, lock=True), FIRST)
    for _ in range(10):
        await stores.pins.count_try(owner.account_id, TRIES, NOON)

    await stores.pins.reset(pin(owner))

    assert await stores.pins.load(owner.account_id) == PinRecord(
        FIRST, registration_lock=True, wrong_tries=0, locked_until=None
    )


async def test_a_pin_is_removed_once(stores: AccountStores, owner: Guesser) -> None:
    await stores.pins.add(pin(owner))

    assert await stores.pins.remove(owner, SECOND, NOON) is False
    assert await asyncio.gather(*(stores.pins.remove(owner, FIRST, NOON) for _ in range(3))) != [False] * 3
    assert await stores.pins.remove(owner, FIRST, NOON) is False

    assert await stores.pins.load(owner.account_id) is None


async def test_every_change_is_told_to_the_other_devices_and_noted(stores: AccountStores, owner: Guesser) -> None:
    await stores.pins.add(pin(owner))
    await stores.pins.replace(pin(owner, SECOND), FIRST)
    await stores.pins.reset(pin(owner, FIRST))
    await stores.pins.remove(owner, FIRST, NOON)

    changes = [notice["change"] for notice in await pin_notices(stores, owner.account_id, without=owner.mailbox)]
    assert changes == ["set", "changed", "reset", "removed"]
    assert await pin_events(stores, owner.account_id) == ["pinSet", "pinChanged", "pinReset", "pinRemoved"]


async def test_a_wrong_pin_is_told_and_noted(stores: AccountStores, owner: Guesser) -> None:
    stranger = Guesser(owner.account_id)

    await stores.pins.record_wrong_try(WrongTry(stranger, CountedTry(FIRST, 1, None), NOON))
    await stores.pins.record_wrong_try(WrongTry(owner, CountedTry(FIRST, 0, NOON + TRIES.lock), NOON))

    assert await pin_notices(stores, owner.account_id, without=None) == [{"name": "pinFailed", "attemptsRemaining": 1}]
    assert await pin_notices(stores, owner.account_id, without=owner.mailbox) == [
        {"name": "pinFailed", "attemptsRemaining": 0}
    ]
    assert await pin_events(stores, owner.account_id) == ["pinWrong", "pinWrong", "pinLocked"]


async def test_tries_at_the_registration_lock_and_of_the_devices_are_ten_each_also_at_once(
    stores: AccountStores, owner: Guesser
) -> None:
    await stores.pins.add(pin(owner, lock=True))

    taken = await asyncio.gather(
        *(stores.pins.count_try(owner.account_id, TRIES, NOON, is_at_lock=number % 2 == 0) for number in range(100))
    )

    at_lock, devices = (
        [each.tries_left for each in some if isinstance(each, CountedTry)] for some in (taken[::2], taken[1::2])
    )
    assert (sorted(at_lock), sorted(devices)) == (list(range(10)), list(range(10)))
    assert await stores.pins.count_try(owner.account_id, TRIES, NOON, is_at_lock=True) == PinLockout(NOON + TRIES.lock)


async def test_a_right_pin_of_a_device_gives_nothing_back_at_the_lock_and_one_at_the_lock_gives_back_all(
    stores: AccountStores, owner: Guesser
) -> None:
    await stores.pins.add(pin(owner, lock=True))
    for is_at_lock in (True, False):
        await stores.pins.count_try(owner.account_id, TRIES, NOON, is_at_lock=is_at_lock)

    counts = []
    for is_at_lock in (False, True):
        await stores.pins.restore_tries(owner.account_id, FIRST, FIRST, is_at_lock=is_at_lock)
        record = await stores.pins.load(owner.account_id)
        counts.append(record and (record.wrong_tries, record.lock_wrong_tries))
        await stores.pins.count_try(owner.account_id, TRIES, NOON)

    assert counts == [(0, 1), (0, 0)]


async def test_the_tries_of_two_accounts_are_two(stores: AccountStores, owner: Guesser) -> None:
    other = Guesser((await stores.sign_up("b" * 64, refresh="r1")).user_id)
    for each in (owner, other):
        await stores.pins.add(pin(each))
    for _ in range(10):
        await stores.pins.count_try(owner.account_id, TRIES, NOON)

    assert await stores.pins.count_try(other.account_id, TRIES, NOON) == CountedTry(FIRST, 9, None)
    assert await stores.pins.count_try(new_id(), TRIES, NOON) is None
