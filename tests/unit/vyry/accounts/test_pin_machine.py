"""The PIN state machine finds each planted bug."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fakes.pins import MemoryPins
from tests.support.pin_machine import PinMachine
from vyry.accounts.pin import CountedTry, PinLockout, PinTryLimit, Verifier
from vyry.accounts.registration_lock import RegistrationLock


LIVES = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
HUNT = settings(LIVES, max_examples=400, derandomize=True, database=None, phases=[Phase.generate])

_count_try = MemoryPins.count_try
_restore_tries = MemoryPins.restore_tries


def test_pins_and_their_lock_follow_the_model() -> None:
    run_state_machine_as_test(PinMachine, settings=LIVES)


async def takes_without_counting(
    self: MemoryPins, account_id: UUID, tries: PinTryLimit, now: datetime, **more: Any
) -> CountedTry | PinLockout | None:
    before = self.ledger.pins.get(account_id)
    taken = await _count_try(self, account_id, tries, now, **more)
    if before is not None:
        self.ledger.pins[account_id] = before
    return taken


async def locks_one_too_late(
    self: MemoryPins, account_id: UUID, tries: PinTryLimit, now: datetime, **more: Any
) -> CountedTry | PinLockout | None:
    return await _count_try(self, account_id, PinTryLimit(tries.limit + 1, tries.lock), now, **more)


async def keeps_the_misses(
    self: MemoryPins, account_id: UUID, proven: Verifier, renewed: Verifier, *, is_at_lock: bool = False
) -> bool:
    pin = self.ledger.pins[account_id]
    given = await _restore_tries(self, account_id, proven, renewed, is_at_lock=is_at_lock)
    self.ledger.pins[account_id] = pin
    return given


def never_holds(self: RegistrationLock, today: date) -> bool:
    return self.is_enabled and self.is_abandoned(today)


def is_never_left(self: RegistrationLock, today: date) -> bool:
    return self.last_seen_on == today and not self.is_enabled


@pytest.mark.parametrize(
    ("place", "name", "bug"),
    [
        (MemoryPins, "count_try", takes_without_counting),
        (MemoryPins, "count_try", locks_one_too_late),
        (MemoryPins, "restore_tries", keeps_the_misses),
        (RegistrationLock, "requires_pin", never_holds),
        (RegistrationLock, "is_abandoned", is_never_left),
    ],
)
def test_a_planted_bug_is_found(place: type, name: str, bug: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, name, bug)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(PinMachine, settings=HUNT)
