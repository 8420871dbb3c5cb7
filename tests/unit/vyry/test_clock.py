"""A clock that jumps is in doubt: what is confirmed goes on by the time that passes, until there is a reason to believe the clock."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.clock import MemoryClock
from vyry.clock import CheckedClock, SteadyClock
from vyry.clock_monitor import STABLE_MAX, STABLE_MIN, ClockMonitor, required_stability


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(slots=True)
class FakeMachine:
    """A machine whose clock can be set, with a node on a store."""

    store: MemoryClock = field(default_factory=MemoryClock)
    ahead: timedelta = timedelta(0)
    passed: timedelta = timedelta(0)

    def start(self) -> tuple[CheckedClock, ClockMonitor]:
        clock = CheckedClock(self._now, self._elapsed)
        return clock, ClockMonitor(clock, self.store)

    def _now(self) -> datetime:
        return NOON + self.passed + self.ahead

    def _elapsed(self) -> float:
        return self.passed.total_seconds()


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


async def test_a_clock_that_agrees_is_believed_to_the_millisecond(machine: FakeMachine) -> None:
    clock, watch = machine.start()
    await watch.check()
    machine.passed, machine.ahead = DAY, timedelta(minutes=59)

    assert clock.confirmed_now() == clock.now() == NOON + DAY + timedelta(minutes=59)
    assert not watch.is_in_doubt


async def test_nothing_is_over_before_the_store_was_asked(machine: FakeMachine) -> None:
    clock, watch = machine.start()

    assert watch.is_in_doubt
    assert clock.confirmed_now() < NOON - 365 * DAY


async def test_a_clock_that_jumps_while_the_node_runs_confirms_nothing_at_once(machine: FakeMachine) -> None:
    clock, watch = machine.start()
    await watch.check()
    machine.passed, machine.ahead = MINUTE, 100 * DAY

    assert clock.confirmed_now() == NOON + MINUTE


async def test_a_node_that_starts_with_its_clock_ahead_confirms_nothing(machine: FakeMachine) -> None:
    await machine.start()[1].check()
    machine.passed, machine.ahead = MINUTE, 100 * DAY
    clock, watch = machine.start()
    await watch.check()

    assert (clock.confirmed_now(), watch.is_in_doubt) == (NOON, True)
    reading = await machine.store.read()
    assert (reading.confirmed_at, reading.claimed_at) == (NOON, clock.now())


async def test_a_clock_that_is_set_right_again_is_believed_at_once(machine: FakeMachine) -> None:
    clock, watch = machine.start()
    await watch.check()
    machine.ahead = 100 * DAY
    await watch.check()
    machine.passed, machine.ahead = MINUTE, timedelta(0)

    await watch.check()

    assert (clock.confirmed_now(), watch.is_in_doubt) == (NOON + MINUTE, False)


async def test_a_clock_that_was_set_back_destroys_nothing_and_is_in_doubt(machine: FakeMachine) -> None:
    clock, watch = machine.start()
    await watch.check()
    machine.ahead = -2 * DAY
    await watch.check()

    assert (clock.confirmed_now(), watch.is_in_doubt) == (NOON - 2 * DAY, True)
    assert (await machine.store.read()).confirmed_at == NOON


async def test_a_node_that_was_off_for_long_is_believed_when_its_clock_held_still(machine: FakeMachine) -> None:
    await machine.start()[1].check()
    machine.ahead = 10 * HOUR
    clock, watch = machine.start()
    await watch.check()
    machine.passed = timedelta(minutes=59)
    await watch.check()
    early = watch.is_in_doubt

    machine.passed = HOUR
    await watch.check()

    assert (early, watch.is_in_doubt) == (True, False)
    assert (await machine.store.read()).confirmed_at == clock.confirmed_now() == NOON + 11 * HOUR


async def test_a_clock_that_jumps_on_has_not_held_still(machine: FakeMachine) -> None:
    await machine.start()[1].check()
    machine.ahead = 10 * HOUR
    _, watch = machine.start()
    await watch.check()
    machine.passed, machine.ahead = HOUR, 12 * HOUR

    await watch.check()

    assert watch.is_in_doubt


async def test_a_clock_is_never_believed_against_nodes_that_have_another_time(machine: FakeMachine) -> None:
    right, wrong = machine.start(), FakeMachine(machine.store, ahead=100 * DAY)
    await right[1].check()
    clock, watch = wrong.start()
    believed = []
    for minutes in range(0, 3 * 24 * 60, 5):
        machine.passed = wrong.passed = timedelta(minutes=minutes)
        await right[1].check()
        await watch.check()
        believed.append(not watch.is_in_doubt or clock.confirmed_now() > right[0].now())

    assert not any(believed)


async def test_what_an_operator_confirms_is_believed_at_the_next_look(machine: FakeMachine) -> None:
    await machine.start()[1].check()
    machine.ahead = 100 * DAY
    clock, watch = machine.start()
    await watch.check()

    await machine.store.force_confirmed(NOON + 100 * DAY + MINUTE)
    await watch.check()

    assert (clock.confirmed_now(), watch.is_in_doubt) == (NOON + 100 * DAY, False)


async def test_the_claim_of_a_node_that_is_gone_is_forgotten(machine: FakeMachine) -> None:
    _, watch = machine.start()
    await watch.check()
    await machine.store.record_claim(NOON + 100 * DAY)
    for seconds in range(10, 60, 10):
        machine.passed = timedelta(seconds=seconds)
        await watch.check()

    assert (await machine.store.read()).claimed_at is None


@pytest.mark.parametrize(
    ("jump", "expected"),
    [(2 * HOUR, STABLE_MIN + 2 * MINUTE), (HOUR, STABLE_MIN), (-20 * HOUR, 2 * HOUR), (100 * DAY, STABLE_MAX)],
    ids=["two hours", "an hour", "back", "a hundred days"],
)
def test_the_further_a_clock_jumped_the_longer_it_has_to_hold_still(jump: timedelta, expected: timedelta) -> None:
    assert required_stability(jump) == expected


def test_a_steady_clock_goes_on_from_where_the_machine_was() -> None:
    clock = SteadyClock()

    assert clock.now() <= clock.now()
    assert abs(clock.confirmed_now() - clock.now()) < HOUR
