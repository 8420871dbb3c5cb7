"""A PIN and its registration lock against a model of a few lines: any order of what an owner, a thief and time can do."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.account_room import NUMBER, AccountRoom, AccountStores, open_stores
from vyry.accounts.account import Caller, Platform
from vyry.accounts.arrival import NewSession, PinAsked
from vyry.accounts.otp import Purpose
from vyry.accounts.own_pin import PinReset, PinWish
from vyry.errors import InvalidPin, InvalidToken, PinLocked, VyryError


PINS = st.sampled_from(["739251", "correct horse", "958310"])
LOCKS = st.sampled_from([True, False, None])
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

    def run(self, work: Any) -> Any:
        """The outcome of some work: a value, or the class of the refusal."""
        try:
            return self.loop.run_until_complete(work)
        except VyryError as refusal:
            return type(refusal)

    @initialize()
    def begin(self) -> None:
        stores: AccountStores = self.run(self.stack.enter_async_context(open_stores(None)))
        self.room = AccountRoom(stores)
        self.caller: Caller = self.run(self.room.sessions.recognise(self.run(self.room.sign_up()).tokens.access))
        self.seen = self.room.clock.now().date()

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()

    def judge(self, pin: str) -> type[VyryError] | None:
        """What the model says to this PIN; the try is counted."""
        now = self.room.clock.now()
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

    def judge_at_lock(self, pin: str) -> type[VyryError] | None:
        """The same at the registration lock. What is right there gives the tries of the devices back, too."""
        devices = self.misses, self.locked_until
        self.misses, self.locked_until = self.lock_misses, self.lock_locked_until
        refused = self.judge(pin)
        self.lock_misses, self.lock_locked_until = self.misses, self.locked_until
        self.misses, self.locked_until = devices if refused is not None else (0, None)
        return refused

    def all_tries(self) -> None:
        """The PIN is another one, or there is none."""
        self.misses, self.locked_until = 0, None
        self.lock_misses, self.lock_locked_until = 0, None

    @rule(pin=PINS, times=st.integers(1, 11))
    def give(self, pin: str, times: int) -> None:
        for _ in range(times):
            outcome = self.run(self.room.own_pin.verify(self.caller, pin))
            assert outcome == (InvalidPin if self.pin is None else self.judge(pin))

    @rule(pin=PINS, current=PINS, lock=LOCKS)
    def put(self, pin: str, current: str, lock: bool | None) -> None:
        outcome = self.run(self.room.own_pin.set(self.caller, PinWish(pin, current, lock)))
        refused = self.judge(current) if self.pin is not None else None
        assert refused is None or outcome is refused
        if refused is None:
            self.is_lock = lock if lock is not None else self.is_lock and self.pin is not None
            self.pin = pin
            self.all_tries()

    @rule(pin=PINS)
    def remove(self, pin: str) -> None:
        outcome = self.run(self.room.own_pin.remove(self.caller, pin))
        refused = self.judge(pin) if self.pin is not None else InvalidPin
        assert refused is None or outcome is refused
        if refused is None:
            self.pin, self.is_lock = None, False
            self.all_tries()

    @rule(pin=PINS)
    def reset(self, pin: str) -> None:
        challenge = self.code(Purpose.PIN_RESET)
        self.run(self.room.own_pin.reset(self.caller, PinReset(challenge, self.room.post.sent[-1].otp, pin)))
        self.is_lock = self.is_lock and self.pin is not None
        self.pin = pin
        self.all_tries()

    @rule(hours=st.sampled_from([1, 23, 24, 100, 24 * 8]))
    def wait(self, hours: int) -> None:
        self.room.clock.advance(hours=hours)

    @rule()
    def use(self) -> None:
        """The owner's device is used."""
        self.run(self.room.sessions.confirm(self.caller))
        self.run(self.room.standings.of(self.caller.device))
        self.seen = self.room.clock.now().date()

    @rule()
    def arrive(self) -> None:
        """Somebody proves the number."""
        challenge = self.code(Purpose.LOGIN)
        verified = self.room.registration.verify_otp(challenge, self.room.post.sent[-1].otp, "phone", Platform.CLI)
        made, now = self.run(verified), self.room.clock.now()
        if self.is_locked():
            assert isinstance(made, PinAsked)
            self.waiting[made.token] = now + timedelta(minutes=10)
            return
        assert isinstance(made, NewSession)
        if now.date() - self.seen > timedelta(days=7):
            self.pin, self.is_lock = None, False
            self.all_tries()
        self.enter(made)

    @rule(pin=PINS, data=st.data())
    def unlock(self, pin: str, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(["invented", *self.waiting]))
        made = self.run(self.room.registration.unlock(token, pin, "phone", Platform.CLI))
        if self.waiting.get(token, self.room.clock.now()) <= self.room.clock.now():
            assert made is InvalidToken
            return
        refused = self.judge_at_lock(pin) if self.is_locked() else None
        assert refused is None or made is refused
        if refused is None:
            self.enter(made)

    @invariant()
    def the_owner_sees_what_the_model_knows(self) -> None:
        if self.pin is None or not hasattr(self, "caller"):
            return
        standing = self.run(self.room.own_pin.of(self.caller))
        is_over = self.locked_until is not None and self.locked_until <= self.room.clock.now()
        left = 10 if is_over else 10 - self.misses
        assert (standing.is_set, standing.registration_lock) == (True, self.is_lock)
        assert (standing.attempts_remaining, standing.locked_until) == (left, None if is_over else self.locked_until)

    def is_locked(self) -> bool:
        """Whether the model asks a new sign-up for the PIN."""
        age = self.room.clock.now().date() - self.seen
        return self.pin is not None and self.is_lock and age <= timedelta(days=7)

    def code(self, purpose: Purpose) -> Any:
        """A challenge to a number that waited longer than any limit."""
        self.room.clock.advance(minutes=150)
        return self.run(self.room.request(NUMBER, purpose))

    def enter(self, made: NewSession) -> None:
        """The model after a sign-up: a new device, and whoever waited at the lock waits in vain."""
        self.caller = self.run(self.room.sessions.recognise(made.tokens.access))
        self.waiting.clear()
        self.seen = self.room.clock.now().date()
