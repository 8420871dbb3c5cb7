"""A PIN and its registration lock against a model of a few lines: any order of what an owner, a thief and time can do."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.account_harness import NUMBER, AccountHarness, AccountStores, open_stores
from vyry.accounts.account import Caller, Platform
from vyry.accounts.otp import Purpose
from vyry.accounts.own_pin import PinReset, PinUpdate
from vyry.accounts.proofs import CodeProof
from vyry.accounts.signup import NewSession, PinChallenge
from vyry.errors import InvalidPin, InvalidToken, PinLocked, VyryError


PINS = st.sampled_from(["739251", "correct horse", "958310"])
LOCK_CHOICES = st.sampled_from([True, False, None])
DAY = timedelta(days=1)


class PinMachine(RuleBasedStateMachine):
    """The model: the PIN, whether it locks sign-ups, the misses in a row and until when it is locked (on devices, and at the lock), when the account was seen, who waits at the lock."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.pin: str | None = None
        self.is_lock = False
        self.misses, self.lock_misses = 0, 0
        self.locked_until: datetime | None = None
        self.lock_locked_until: datetime | None = None
        self.waiting: dict[str, datetime] = {}

    def run_async(self, work: Any) -> Any:
        """The outcome of some work: a value, or the class of the refusal."""
        try:
            return self.loop.run_until_complete(work)
        except VyryError as refusal:
            return type(refusal)

    @initialize()
    def set_up(self) -> None:
        stores: AccountStores = self.run_async(self.stack.enter_async_context(open_stores(None)))
        self.harness = AccountHarness(stores)
        self.caller: Caller = self.run_async(
            self.harness.sessions.authenticate(self.run_async(self.harness.sign_up()).tokens.access)
        )
        self.seen = self.harness.clock.now().date()

    def teardown(self) -> None:
        self.run_async(self.stack.aclose())
        self.loop.close()

    def expected_result(self, pin: str) -> type[VyryError] | None:
        """What the model says to this PIN; the try is counted."""
        now = self.harness.clock.now()
        if self.locked_until is not None and self.locked_until > now:
            return PinLocked
        if self.locked_until is not None:
            self.misses, self.locked_until = 0, None
        if pin == self.pin:
            self.misses = 0
            return None
        self.misses += 1
        if self.misses == 10:
            self.locked_until = now + DAY
        return InvalidPin

    def expected_lock_result(self, pin: str) -> type[VyryError] | None:
        """The same at the registration lock. What is right there gives the tries of the devices back, too."""
        devices = self.misses, self.locked_until
        self.misses, self.locked_until = self.lock_misses, self.lock_locked_until
        refused = self.expected_result(pin)
        self.lock_misses, self.lock_locked_until = self.misses, self.locked_until
        self.misses, self.locked_until = devices if refused is not None else (0, None)
        return refused

    def reset_misses(self) -> None:
        """The PIN is another one, or there is none."""
        self.misses, self.locked_until = 0, None
        self.lock_misses, self.lock_locked_until = 0, None

    @rule(pin=PINS, times=st.integers(1, 11))
    def verify_pin(self, pin: str, times: int) -> None:
        for _ in range(times):
            outcome = self.run_async(self.harness.own_pin.verify(self.caller, pin))
            assert outcome == (InvalidPin if self.pin is None else self.expected_result(pin))

    @rule(pin=PINS, current=PINS, lock=LOCK_CHOICES)
    def set_pin(self, pin: str, current: str, lock: bool | None) -> None:
        outcome = self.run_async(self.harness.own_pin.set(self.caller, PinUpdate(pin, current, lock)))
        refused = self.expected_result(current) if self.pin is not None else None
        assert refused is None or outcome is refused
        if refused is None:
            self.is_lock = lock if lock is not None else self.is_lock and self.pin is not None
            self.pin = pin
            self.reset_misses()

    @rule(pin=PINS)
    def remove_pin(self, pin: str) -> None:
        outcome = self.run_async(self.harness.own_pin.remove(self.caller, pin))
        refused = self.expected_result(pin) if self.pin is not None else InvalidPin
        assert refused is None or outcome is refused
        if refused is None:
            self.pin, self.is_lock = None, False
            self.reset_misses()

    @rule(pin=PINS)
    def reset_pin(self, pin: str) -> None:
        challenge = self.request_code(Purpose.PIN_RESET)
        self.run_async(
            self.harness.own_pin.reset(
                self.caller, PinReset(pin, CodeProof(challenge, self.harness.otp_sender.sent[-1].otp))
            )
        )
        self.is_lock = self.is_lock and self.pin is not None
        self.pin = pin
        self.reset_misses()

    @rule(hours=st.sampled_from([1, 23, 24, 100, 24 * 8]))
    def pass_hours(self, hours: int) -> None:
        self.harness.clock.advance(hours=hours)

    @rule()
    def use_device(self) -> None:
        """The owner's device is used."""
        self.run_async(self.harness.sessions.check_still_valid(self.caller))
        self.run_async(self.harness.standings.get(self.caller.device))
        self.seen = self.harness.clock.now().date()

    @rule()
    def prove_number(self) -> None:
        """Somebody proves the number."""
        challenge = self.request_code(Purpose.LOGIN)
        verified = self.harness.registration.verify_otp(
            challenge, self.harness.otp_sender.sent[-1].otp, "phone", Platform.CLI
        )
        made, now = self.run_async(verified), self.harness.clock.now()
        if self.is_locked():
            assert isinstance(made, PinChallenge)
            self.waiting[made.token] = now + timedelta(minutes=10)
            return
        assert isinstance(made, NewSession)
        if now.date() - self.seen > timedelta(days=7):
            self.pin, self.is_lock = None, False
            self.reset_misses()
        self.record_sign_up(made)

    @rule(pin=PINS, data=st.data())
    def unlock(self, pin: str, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(["invented", *self.waiting]))
        made = self.run_async(self.harness.registration.unlock(token, pin, "phone", Platform.CLI))
        if self.waiting.get(token, self.harness.clock.now()) <= self.harness.clock.now():
            assert made is InvalidToken
            return
        refused = self.expected_lock_result(pin) if self.is_locked() else None
        assert refused is None or made is refused
        if refused is None:
            self.record_sign_up(made)

    @invariant()
    def owner_view_equals_model(self) -> None:
        if self.pin is None or not hasattr(self, "caller"):
            return
        standing = self.run_async(self.harness.own_pin.status(self.caller))
        is_over = self.locked_until is not None and self.locked_until <= self.harness.clock.now()
        left = 10 if is_over else 10 - self.misses
        assert (standing.is_set, standing.registration_lock) == (True, self.is_lock)
        assert (standing.attempts_remaining, standing.locked_until) == (left, None if is_over else self.locked_until)

    def is_locked(self) -> bool:
        """Whether the model asks a new sign-up for the PIN."""
        age = self.harness.clock.now().date() - self.seen
        return self.pin is not None and self.is_lock and age <= timedelta(days=7)

    def request_code(self, purpose: Purpose) -> Any:
        """A challenge to a number that waited longer than any limit."""
        self.harness.clock.advance(minutes=150)
        return self.run_async(self.harness.request_code(NUMBER, purpose))

    def record_sign_up(self, made: NewSession) -> None:
        """The model after a sign-up: a new device, and whoever waited at the lock waits in vain."""
        self.caller = self.run_async(self.harness.sessions.authenticate(made.tokens.access))
        self.waiting.clear()
        self.seen = self.harness.clock.now().date()
