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
from vyry.clock import CheckedClock
from vyry.errors import InvalidOtp, InvalidPin, InvalidRequest, PinLocked, RateLimited, Unavailable, VyryError
from vyry.in_process.pin_hasher import ArgonCost, ArgonPinHasher
from vyry.kernel.ids import DeviceId, new_id
from vyry.limits import PIN_CHECKS, Quota, QuotaWindow
from vyry.local_limits import BucketLimiter


PIN, OTHER, WRONG = "739251", "correct horse", "958310"
UNSET = PinStatus(is_set=False, registration_lock=False, attempts_remaining=10, locked_until=None)


@pytest.fixture
async def room() -> AsyncIterator[AccountHarness]:
    async with open_stores(None) as stores:
        yield AccountHarness(stores)


@pytest.fixture
async def ann(room: AccountHarness) -> Caller:
    """An authenticated caller."""
    return await room.sessions.authenticate((await room.sign_up()).tokens.access)


async def set_pin(room: AccountHarness, caller: Caller, pin: str = PIN, current: str | None = None) -> PinStatus:
    return await room.own_pin.set(caller, PinUpdate(pin, current, None))


async def enter_wrong_pin(room: AccountHarness, caller: Caller, times: int = 1) -> list[object]:
    """The details in the errors of so many wrong PINs."""
    said: list[object] = []
    for _ in range(times):
        with pytest.raises((InvalidPin, PinLocked)) as refused:
            await room.own_pin.verify(caller, WRONG)
        said.append(next(iter(refused.value.members.values())))
    return said


async def code(room: AccountHarness, number: str = NUMBER, purpose: Purpose = Purpose.PIN_RESET) -> tuple[UUID, str]:
    """A challenge and its code, after the wait between two codes."""
    room.clock.advance(seconds=31)
    challenge = await room.request_code(number, purpose)
    return challenge, room.otp_sender.sent[-1].otp


async def reset(room: AccountHarness, caller: Caller, challenge: UUID, otp: str, pin: str = OTHER) -> PinStatus:
    return await room.own_pin.reset(caller, PinReset(challenge, otp, pin))


async def test_a_first_pin_needs_no_proof_and_stands_as_it_was_wanted(room: AccountHarness, ann: Caller) -> None:
    assert await room.own_pin.status(ann) == UNSET

    standing = await room.own_pin.set(ann, PinUpdate(PIN, None, registration_lock=True))

    assert standing == PinStatus(is_set=True, registration_lock=True, attempts_remaining=10, locked_until=None)
    assert await room.own_pin.status(ann) == standing
    await room.own_pin.verify(ann, PIN)


async def test_ten_wrong_pins_lock_it_for_a_day(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)

    assert await enter_wrong_pin(room, ann, 10) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    room.clock.advance(hours=1)
    assert await enter_wrong_pin(room, ann) == [23 * 3600]
    with pytest.raises(PinLocked):
        await room.own_pin.verify(ann, PIN)
    standing = await room.own_pin.status(ann)
    assert (standing.attempts_remaining, standing.locked_until) == (0, room.clock.now() + timedelta(hours=23))

    room.clock.advance(hours=23)
    assert (await room.own_pin.status(ann)).attempts_remaining == 10
    assert await enter_wrong_pin(room, ann) == [9]
    await room.own_pin.verify(ann, PIN)
    assert (await room.own_pin.status(ann)).attempts_remaining == 10


@pytest.mark.parametrize("days", [-100, 100])
async def test_a_lock_that_begins_while_the_clock_is_wrong_lasts_a_whole_day_once_it_is_right(
    room: AccountHarness, ann: Caller, days: int
) -> None:
    right, wrong = room.clock.current_time, room.clock.current_time + timedelta(days=days)
    clock = CheckedClock(room.clock.now, lambda: 0)
    clock.confirm(right)
    pins = Pins(room.stores.pins, room.pins.hasher, room.pepper, clock, PinTryLimit())
    await set_pin(room, ann)

    room.clock.current_time = wrong
    for _ in range(10):
        with pytest.raises(InvalidPin):
            await pins.require(ann, WRONG)
    # A clock that was behind agrees again; one that is ahead is believed.
    room.clock.current_time = max(right, wrong)
    clock.confirm(room.clock.current_time)

    with pytest.raises(PinLocked) as refused:
        await pins.require(ann, PIN)
    assert refused.value.members == {"retry_after_seconds": 24 * 3600}


async def test_two_hundred_wrong_pins_at_once_are_ten_tries(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)

    said = await asyncio.gather(*(room.own_pin.verify(ann, WRONG) for _ in range(200)), return_exceptions=True)

    assert [type(each) for each in said].count(InvalidPin) == 10
    assert [type(each) for each in said].count(PinLocked) == 190


async def test_right_pins_at_once_lock_nothing(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)

    await asyncio.gather(*(room.own_pin.verify(ann, PIN) for _ in range(100)))


async def test_a_change_needs_the_present_pin_and_a_wrong_one_is_a_try(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)

    left = []
    for current in (None, WRONG, None, WRONG):
        with pytest.raises(InvalidPin) as refused:
            await set_pin(room, ann, OTHER, current)
        left.append(refused.value.members["attempts_remaining"])
    await set_pin(room, ann, OTHER, PIN)

    assert left == [10, 9, 9, 8]
    await room.own_pin.verify(ann, OTHER)
    assert await enter_wrong_pin(room, ann) == [9]


async def test_while_it_is_locked_a_pin_is_neither_changed_nor_removed(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)
    await enter_wrong_pin(room, ann, 10)

    for attempt in (set_pin(room, ann, OTHER, PIN), set_pin(room, ann, OTHER), room.own_pin.remove(ann, PIN)):
        with pytest.raises(PinLocked):
            await attempt


async def test_of_two_changes_at_once_one_is_made(room: AccountHarness, ann: Caller) -> None:
    first = await asyncio.gather(set_pin(room, ann, PIN), set_pin(room, ann, OTHER), return_exceptions=True)
    assert [isinstance(each, InvalidPin) for each in first].count(True) == 1
    await reset(room, ann, *await code(room), PIN)

    changes = [set_pin(room, ann, pin, PIN) for pin in (OTHER, "another horse")]
    second = await asyncio.gather(*changes, return_exceptions=True)

    assert [isinstance(each, InvalidPin) for each in second].count(True) == 1


async def test_a_pin_too_easy_costs_neither_a_try_nor_a_code(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)
    challenge, otp = await code(room)

    with pytest.raises(InvalidRequest):
        await set_pin(room, ann, "123456", WRONG)
    with pytest.raises(InvalidRequest):
        await reset(room, ann, challenge, otp, "791234")

    assert (await room.own_pin.status(ann)).attempts_remaining == 10
    assert (await reset(room, ann, challenge, otp)).is_set


async def test_a_reset_needs_a_code_of_its_own_purpose_for_the_own_number(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)
    others = [
        ("+41791234568", Purpose.PIN_RESET),
        ("+41791234567", Purpose.LOGIN),
        ("+41791234567", Purpose.DELETE_ACCOUNT),
    ]

    for number, purpose in others:
        challenge, otp = await code(room, number, purpose)
        with pytest.raises(InvalidOtp):
            await reset(room, ann, challenge, otp)
    with pytest.raises(InvalidOtp):
        await reset(room, ann, new_id(), "123456")

    await room.own_pin.verify(ann, PIN)


async def test_a_reset_lifts_the_lock_once(room: AccountHarness, ann: Caller) -> None:
    await room.own_pin.set(ann, PinUpdate(PIN, None, registration_lock=True))
    await enter_wrong_pin(room, ann, 10)
    challenge, otp = await code(room)

    standing = await reset(room, ann, challenge, otp)

    assert standing == PinStatus(is_set=True, registration_lock=True, attempts_remaining=10, locked_until=None)
    await room.own_pin.verify(ann, OTHER)
    with pytest.raises(InvalidOtp):
        await reset(room, ann, challenge, otp, PIN)


async def test_a_removed_pin_is_asked_for_no_more(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)

    with pytest.raises(InvalidPin):
        await room.own_pin.remove(ann, WRONG)
    assert await room.own_pin.remove(ann, PIN) == UNSET

    for attempt in (room.own_pin.verify(ann, PIN), room.own_pin.remove(ann, PIN)):
        with pytest.raises(InvalidPin):
            await attempt
    await room.pins.require(ann, None)
    await room.pins.require(ann, "whatever")


async def test_where_a_pin_is_required_giving_none_costs_no_try(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)

    with pytest.raises(InvalidPin):
        await room.pins.require(ann, None)
    assert await room.pins.tries_left(ann.user_id) == 10
    with pytest.raises(InvalidPin):
        await room.pins.require(ann, WRONG)
    assert await room.pins.tries_left(ann.user_id) == 9
    await room.pins.require(ann, PIN)
    await enter_wrong_pin(room, ann, 10)
    for pin in (None, PIN):
        with pytest.raises(PinLocked):
            await room.pins.require(ann, pin)


async def test_the_other_devices_are_told(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)
    await enter_wrong_pin(room, ann)
    await set_pin(room, ann, OTHER, PIN)

    assert await pin_notices(room.stores, ann.user_id, without=ann.mailbox) == [
        {"name": "pinChanged", "change": "set"},
        {"name": "pinFailed", "attemptsRemaining": 9},
        {"name": "pinChanged", "change": "changed"},
    ]
    assert await pin_events(room.stores, ann.user_id) == ["pinSet", "pinWrong", "pinChanged"]


async def test_a_pin_is_bound_to_its_account(room: AccountHarness, ann: Caller) -> None:
    bo = await room.sessions.authenticate((await room.sign_up("+41791234568")).tokens.access)
    await set_pin(room, ann)
    assert isinstance(room.stores.pins, MemoryPins)
    room.stores.pins.ledger.pins[bo.user_id] = room.stores.pins.ledger.pins[ann.user_id]

    with pytest.raises(InvalidPin):
        await room.own_pin.verify(bo, PIN)


async def test_a_right_pin_is_stored_anew_when_its_price_or_the_pepper_has_changed(
    room: AccountHarness, ann: Caller
) -> None:
    await set_pin(room, ann)
    ring = Pepper({1: b"p" * 32, 2: b"q" * 32}, 2)
    today = Pins(room.stores.pins, ArgonPinHasher(ArgonCost(16, 1)), ring, room.clock, PinTryLimit())

    assert await today.prove(Guesser.from_caller(ann), PIN) is not None

    record = await room.stores.pins.load(ann.user_id)
    assert record is not None
    assert record.verifier.pepper_id == 2
    assert "$m=16,t=1" in record.verifier.text
    assert record.verifier.text not in repr(record)
    with pytest.raises(InvalidPin):
        await today.prove(Guesser.from_caller(ann), WRONG)


async def test_while_a_pepper_is_missing_no_pin_fits(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)
    strange = Pins(
        room.stores.pins, ArgonPinHasher(CHEAP_PIN_COST), Pepper({2: b"q" * 32}, 2), room.clock, PinTryLimit()
    )

    with pytest.raises(Unavailable):
        await strange.prove(Guesser.from_caller(ann), PIN)


class UnavailableStore(MemoryPins):
    """A database that is down."""

    async def count_try(self, *_: object, **__: object) -> None:
        raise Unavailable


async def test_while_no_try_can_be_counted_no_pin_is_looked_at(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)
    assert isinstance(room.stores.pins, MemoryPins)
    pins = Pins(
        UnavailableStore(room.stores.pins.ledger),
        ArgonPinHasher(CHEAP_PIN_COST),
        room.pepper,
        room.clock,
        PinTryLimit(),
    )

    for pin in (PIN, WRONG):
        with pytest.raises(Unavailable):
            await pins.require(ann, pin)


async def test_a_pin_that_found_no_place_costs_no_try(room: AccountHarness, ann: Caller) -> None:
    await set_pin(room, ann)
    hasher = ArgonPinHasher(CHEAP_PIN_COST, threads=1, accounts=0)
    pins = Pins(room.stores.pins, hasher, room.pepper, room.clock, PinTryLimit())

    async with hasher.acquire_slot(Guesser.from_caller(ann)):
        with pytest.raises(VyryError) as refused:
            await pins.require(ann, WRONG)

    assert isinstance(refused.value, Unavailable)
    assert await pins.tries_left(ann.user_id) == 10


async def test_whatever_hashes_is_counted_by_account_and_at_the_registration_lock_apart(
    room: AccountHarness, ann: Caller
) -> None:
    few = BucketLimiter({PIN_CHECKS.name: Quota(PIN_CHECKS.name, (QuotaWindow(2, 200, is_bucket=True),))})
    pins = Pins(
        room.stores.pins, CountedHasher(ArgonPinHasher(CHEAP_PIN_COST), few), room.pepper, room.clock, PinTryLimit()
    )
    thief, other = Guesser(ann.user_id), Guesser(uuid4(), DeviceId(1))

    outcomes = [await pins.prove(Guesser.from_caller(ann), PIN) for _ in range(2)]
    with pytest.raises(RateLimited) as refused:
        await pins.prove(Guesser.from_caller(ann), PIN)

    assert outcomes == [None, None]
    assert refused.value.members == {"retry_after_seconds": 100}
    assert [await pins.prove(guesser, PIN) for guesser in (thief, other)] == [None, None]


async def test_what_the_line_refuses_is_not_counted(room: AccountHarness, ann: Caller) -> None:
    buckets = BucketLimiter()
    hasher = CountedHasher(ArgonPinHasher(CHEAP_PIN_COST, each=0), buckets)
    pins = Pins(room.stores.pins, hasher, room.pepper, room.clock, PinTryLimit())

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


async def test_an_absent_pin_costs_the_same_hash(room: AccountHarness, ann: Caller) -> None:
    ledger = RecordingHasher()
    room.pins.hasher = ledger

    with pytest.raises(InvalidPin):
        await room.own_pin.verify(ann, WRONG)
    assert ledger.hashed == ["made"]
    await set_pin(room, ann)
    ledger.hashed.clear()
    with pytest.raises(InvalidPin):
        await room.own_pin.verify(ann, WRONG)
    assert ledger.hashed == ["judged"]
