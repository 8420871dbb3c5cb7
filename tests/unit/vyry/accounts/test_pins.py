"""Setting, verifying, changing, resetting and removing a PIN."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.fakes.pins import MemoryPins
from tests.support.account_harness import CHEAP_PIN_COST, NUMBER, AccountHarness, open_stores
from tests.support.pin_notices import pin_events, pin_notices
from vyry.accounts.account import Caller
from vyry.accounts.otp import Purpose
from vyry.accounts.own_pin import PinReset, PinStatus, PinUpdate
from vyry.accounts.phone import Pepper
from vyry.accounts.pin import CountedHasher, Guesser, HashingSlot, PinMatch, Pins, PinTryLimit, checks_left
from vyry.accounts.proofs import CodeProof
from vyry.clock import CheckedClock
from vyry.errors import InvalidOtp, InvalidPin, InvalidRequest, PinLocked, RateLimited, Unavailable, VyryError
from vyry.in_process.pin_hasher import ArgonCost, ArgonPinHasher
from vyry.kernel.ids import DeviceId, new_id
from vyry.limits import PIN_CHECKS, Quota, QuotaWindow
from vyry.local_limits import BucketLimiter


PIN, OTHER, WRONG = "739251", "correct horse", "958310"
UNSET = PinStatus(is_set=False, registration_lock=False, attempts_remaining=10, locked_until=None)


@pytest.fixture
async def harness() -> AsyncIterator[AccountHarness]:
    async with open_stores(None) as stores:
        yield AccountHarness(stores)


@pytest.fixture
async def ann(harness: AccountHarness) -> Caller:
    """An authenticated caller."""
    return await harness.sessions.authenticate((await harness.sign_up()).tokens.access)


async def set_pin(harness: AccountHarness, caller: Caller, pin: str = PIN, current: str | None = None) -> PinStatus:
    return await harness.own_pin.set(caller, PinUpdate(pin, current, None))


async def enter_wrong_pin(harness: AccountHarness, caller: Caller, times: int = 1) -> list[object]:
    """The details in the errors of so many wrong PINs."""
    said: list[object] = []
    for _ in range(times):
        with pytest.raises((InvalidPin, PinLocked)) as refused:
            await harness.own_pin.verify(caller, WRONG)
        said.append(next(iter(refused.value.members.values())))
    return said


async def code(harness: AccountHarness, number: str = NUMBER, purpose: Purpose = Purpose.PIN_RESET) -> tuple[UUID, str]:
    """A challenge and its code, after the wait between two codes."""
    harness.clock.advance(seconds=31)
    challenge = await harness.request_code(number, purpose)
    return challenge, harness.otp_sender.sent[-1].otp


async def reset(harness: AccountHarness, caller: Caller, challenge: UUID, otp: str, pin: str = OTHER) -> PinStatus:
    return await harness.own_pin.reset(caller, PinReset(pin, CodeProof(challenge, otp)))


async def test_a_first_pin_needs_no_proof_and_stands_as_it_was_wanted(harness: AccountHarness, ann: Caller) -> None:
    assert await harness.own_pin.status(ann) == UNSET

    standing = await harness.own_pin.set(ann, PinUpdate(PIN, None, registration_lock=True))

    assert standing == PinStatus(is_set=True, registration_lock=True, attempts_remaining=10, locked_until=None)
    assert await harness.own_pin.status(ann) == standing
    await harness.own_pin.verify(ann, PIN)


async def test_ten_wrong_pins_lock_it_for_a_day(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)

    assert await enter_wrong_pin(harness, ann, 10) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    harness.clock.advance(hours=1)
    assert await enter_wrong_pin(harness, ann) == [23 * 3600]
    with pytest.raises(PinLocked):
        await harness.own_pin.verify(ann, PIN)
    standing = await harness.own_pin.status(ann)
    assert (standing.attempts_remaining, standing.locked_until) == (0, harness.clock.now() + timedelta(hours=23))

    harness.clock.advance(hours=23)
    assert (await harness.own_pin.status(ann)).attempts_remaining == 10
    assert await enter_wrong_pin(harness, ann) == [9]
    await harness.own_pin.verify(ann, PIN)
    assert (await harness.own_pin.status(ann)).attempts_remaining == 10


@pytest.mark.parametrize("days", [-100, 100])
async def test_a_lock_that_begins_while_the_clock_is_wrong_lasts_a_whole_day_once_it_is_right(
    harness: AccountHarness, ann: Caller, days: int
) -> None:
    right, wrong = harness.clock.current_time, harness.clock.current_time + timedelta(days=days)
    clock = CheckedClock(harness.clock.now, lambda: 0)
    clock.confirm(right)
    pins = Pins(harness.stores.pins, harness.pins.hasher, harness.pepper, clock, PinTryLimit())
    await set_pin(harness, ann)

    harness.clock.current_time = wrong
    for _ in range(10):
        with pytest.raises(InvalidPin):
            await pins.require(ann, WRONG)
    # A clock that was behind agrees again; one that is ahead is believed.
    harness.clock.current_time = max(right, wrong)
    clock.confirm(harness.clock.current_time)

    with pytest.raises(PinLocked) as refused:
        await pins.require(ann, PIN)
    assert refused.value.members == {"retry_after_seconds": 24 * 3600}


async def test_two_hundred_wrong_pins_at_once_are_ten_tries(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)

    said = await asyncio.gather(*(harness.own_pin.verify(ann, WRONG) for _ in range(200)), return_exceptions=True)

    assert [type(each) for each in said].count(InvalidPin) == 10
    assert [type(each) for each in said].count(PinLocked) == 190


async def test_right_pins_at_once_lock_nothing(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)

    await asyncio.gather(*(harness.own_pin.verify(ann, PIN) for _ in range(100)))


async def test_a_change_needs_the_present_pin_and_a_wrong_one_is_a_try(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)

    left = []
    for current in (None, WRONG, None, WRONG):
        with pytest.raises(InvalidPin) as refused:
            await set_pin(harness, ann, OTHER, current)
        left.append(refused.value.members["attempts_remaining"])
    await set_pin(harness, ann, OTHER, PIN)

    assert left == [10, 9, 9, 8]
    await harness.own_pin.verify(ann, OTHER)
    assert await enter_wrong_pin(harness, ann) == [9]


async def test_while_it_is_locked_a_pin_is_neither_changed_nor_removed(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)
    await enter_wrong_pin(harness, ann, 10)

    for attempt in (set_pin(harness, ann, OTHER, PIN), set_pin(harness, ann, OTHER), harness.own_pin.remove(ann, PIN)):
        with pytest.raises(PinLocked):
            await attempt


async def test_of_two_changes_at_once_one_is_made(harness: AccountHarness, ann: Caller) -> None:
    first = await asyncio.gather(set_pin(harness, ann, PIN), set_pin(harness, ann, OTHER), return_exceptions=True)
    assert [isinstance(each, InvalidPin) for each in first].count(True) == 1
    await reset(harness, ann, *await code(harness), PIN)

    changes = [set_pin(harness, ann, pin, PIN) for pin in (OTHER, "another horse")]
    second = await asyncio.gather(*changes, return_exceptions=True)

    assert [isinstance(each, InvalidPin) for each in second].count(True) == 1


async def test_a_pin_too_easy_costs_neither_a_try_nor_a_code(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)
    challenge, otp = await code(harness)

    with pytest.raises(InvalidRequest):
        await set_pin(harness, ann, "123456", WRONG)
    with pytest.raises(InvalidRequest):
        await reset(harness, ann, challenge, otp, "791234")

    assert (await harness.own_pin.status(ann)).attempts_remaining == 10
    assert (await reset(harness, ann, challenge, otp)).is_set


async def test_a_reset_needs_a_code_of_its_own_purpose_for_the_own_number(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)
    others = [
        ("+41791234568", Purpose.PIN_RESET),
        ("+41791234567", Purpose.LOGIN),
        ("+41791234567", Purpose.DELETE_ACCOUNT),
    ]

    for number, purpose in others:
        challenge, otp = await code(harness, number, purpose)
        with pytest.raises(InvalidOtp):
            await reset(harness, ann, challenge, otp)
    with pytest.raises(InvalidOtp):
        await reset(harness, ann, new_id(), "123456")

    await harness.own_pin.verify(ann, PIN)


async def test_a_reset_lifts_the_lock_once(harness: AccountHarness, ann: Caller) -> None:
    await harness.own_pin.set(ann, PinUpdate(PIN, None, registration_lock=True))
    await enter_wrong_pin(harness, ann, 10)
    challenge, otp = await code(harness)

    standing = await reset(harness, ann, challenge, otp)

    assert standing == PinStatus(is_set=True, registration_lock=True, attempts_remaining=10, locked_until=None)
    await harness.own_pin.verify(ann, OTHER)
    with pytest.raises(InvalidOtp):
        await reset(harness, ann, challenge, otp, PIN)


async def test_a_removed_pin_is_asked_for_no_more(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)

    with pytest.raises(InvalidPin):
        await harness.own_pin.remove(ann, WRONG)
    assert await harness.own_pin.remove(ann, PIN) == UNSET

    for attempt in (harness.own_pin.verify(ann, PIN), harness.own_pin.remove(ann, PIN)):
        with pytest.raises(InvalidPin):
            await attempt
    await harness.pins.require(ann, None)
    await harness.pins.require(ann, "whatever")


async def test_where_a_pin_is_required_giving_none_costs_no_try(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)

    with pytest.raises(InvalidPin):
        await harness.pins.require(ann, None)
    assert await harness.pins.tries_left(ann.user_id) == 10
    with pytest.raises(InvalidPin):
        await harness.pins.require(ann, WRONG)
    assert await harness.pins.tries_left(ann.user_id) == 9
    await harness.pins.require(ann, PIN)
    await enter_wrong_pin(harness, ann, 10)
    for pin in (None, PIN):
        with pytest.raises(PinLocked):
            await harness.pins.require(ann, pin)


async def test_the_other_devices_are_told(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)
    await enter_wrong_pin(harness, ann)
    await set_pin(harness, ann, OTHER, PIN)

    assert await pin_notices(harness.stores, ann.user_id, without=ann.mailbox) == [
        {"name": "pinChanged", "change": "set"},
        {"name": "pinFailed", "attemptsRemaining": 9},
        {"name": "pinChanged", "change": "changed"},
    ]
    assert await pin_events(harness.stores, ann.user_id) == ["pinSet", "pinWrong", "pinChanged"]


async def test_a_pin_is_bound_to_its_account(harness: AccountHarness, ann: Caller) -> None:
    bo = await harness.sessions.authenticate((await harness.sign_up("+41791234568")).tokens.access)
    await set_pin(harness, ann)
    assert isinstance(harness.stores.pins, MemoryPins)
    harness.stores.pins.ledger.pins[bo.user_id] = harness.stores.pins.ledger.pins[ann.user_id]

    with pytest.raises(InvalidPin):
        await harness.own_pin.verify(bo, PIN)


async def test_a_right_pin_is_stored_anew_when_its_price_or_the_pepper_has_changed(
    harness: AccountHarness, ann: Caller
) -> None:
    await set_pin(harness, ann)
    ring = Pepper({1: b"p" * 32, 2: b"q" * 32}, 2)
    today = Pins(harness.stores.pins, ArgonPinHasher(ArgonCost(16, 1)), ring, harness.clock, PinTryLimit())

    assert await today.prove(Guesser.from_caller(ann), PIN) is not None

    record = await harness.stores.pins.load(ann.user_id)
    assert record is not None
    assert record.verifier.pepper_id == 2
    assert "$m=16,t=1" in record.verifier.text
    assert record.verifier.text not in repr(record)
    with pytest.raises(InvalidPin):
        await today.prove(Guesser.from_caller(ann), WRONG)


async def test_while_a_pepper_is_missing_no_pin_fits(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)
    strange = Pins(
        harness.stores.pins, ArgonPinHasher(CHEAP_PIN_COST), Pepper({2: b"q" * 32}, 2), harness.clock, PinTryLimit()
    )

    with pytest.raises(Unavailable):
        await strange.prove(Guesser.from_caller(ann), PIN)


class UnavailableStore(MemoryPins):
    """A database that is down."""

    async def count_try(self, *_: object, **__: object) -> None:
        raise Unavailable


async def test_while_no_try_can_be_counted_no_pin_is_looked_at(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)
    assert isinstance(harness.stores.pins, MemoryPins)
    pins = Pins(
        UnavailableStore(harness.stores.pins.ledger),
        ArgonPinHasher(CHEAP_PIN_COST),
        harness.pepper,
        harness.clock,
        PinTryLimit(),
    )

    for pin in (PIN, WRONG):
        with pytest.raises(Unavailable):
            await pins.require(ann, pin)


async def test_a_pin_that_found_no_place_costs_no_try(harness: AccountHarness, ann: Caller) -> None:
    await set_pin(harness, ann)
    hasher = ArgonPinHasher(CHEAP_PIN_COST, threads=1, accounts=0)
    pins = Pins(harness.stores.pins, hasher, harness.pepper, harness.clock, PinTryLimit())

    async with hasher.acquire_slot(Guesser.from_caller(ann)):
        with pytest.raises(VyryError) as refused:
            await pins.require(ann, WRONG)

    assert isinstance(refused.value, Unavailable)
    assert await pins.tries_left(ann.user_id) == 10


async def test_whatever_hashes_is_counted_by_account_and_at_the_registration_lock_apart(
    harness: AccountHarness, ann: Caller
) -> None:
    few = BucketLimiter({PIN_CHECKS.name: Quota(PIN_CHECKS.name, (QuotaWindow(2, 200, is_bucket=True),))})
    pins = Pins(
        harness.stores.pins,
        CountedHasher(ArgonPinHasher(CHEAP_PIN_COST), few),
        harness.pepper,
        harness.clock,
        PinTryLimit(),
    )
    thief, other = Guesser(ann.user_id), Guesser(uuid4(), DeviceId(1))

    outcomes = [await pins.prove(Guesser.from_caller(ann), PIN) for _ in range(2)]
    with pytest.raises(RateLimited) as refused:
        await pins.prove(Guesser.from_caller(ann), PIN)

    assert outcomes == [None, None]
    assert refused.value.members == {"retry_after_seconds": 100}
    assert [await pins.prove(guesser, PIN) for guesser in (thief, other)] == [None, None]


async def test_what_the_line_refuses_is_not_counted(harness: AccountHarness, ann: Caller) -> None:
    buckets = BucketLimiter()
    hasher = CountedHasher(ArgonPinHasher(CHEAP_PIN_COST, each=0), buckets)
    pins = Pins(harness.stores.pins, hasher, harness.pepper, harness.clock, PinTryLimit())

    with pytest.raises(RateLimited):
        await pins.prove(Guesser.from_caller(ann), PIN)

    ((_, grant),) = checks_left(buckets, Guesser.from_caller(ann))
    assert grant.remaining == grant.limit


class RecordingHasher:
    """A hasher that records what is hashed."""

    def __init__(self) -> None:
        self._hasher = ArgonPinHasher(CHEAP_PIN_COST)
        self.hashed: list[str] = []

    def check_capacity(self, guesser: Guesser) -> None:
        self._hasher.check_capacity(guesser)

    @asynccontextmanager
    async def acquire_slot(self, guesser: Guesser) -> AsyncIterator["RecordingSlot"]:
        async with self._hasher.acquire_slot(guesser) as place:
            yield RecordingSlot(place, self.hashed)


class RecordingSlot:
    """A slot that records each hash."""

    def __init__(self, place: HashingSlot, hashed: list[str]) -> None:
        self._place = place
        self._hashed = hashed

    async def make_verifier(self, secret: bytes) -> str:
        self._hashed.append("made")
        return await self._place.make_verifier(secret)

    async def match_verifier(self, verifier: str, secret: bytes) -> PinMatch:
        self._hashed.append("judged")
        return await self._place.match_verifier(verifier, secret)


async def test_an_absent_pin_costs_the_same_hash(harness: AccountHarness, ann: Caller) -> None:
    ledger = RecordingHasher()
    harness.pins.hasher = ledger

    with pytest.raises(InvalidPin):
        await harness.own_pin.verify(ann, WRONG)
    assert ledger.hashed == ["made"]
    await set_pin(harness, ann)
    ledger.hashed.clear()
    with pytest.raises(InvalidPin):
        await harness.own_pin.verify(ann, WRONG)
    assert ledger.hashed == ["judged"]
