"""PINs: verification with a limited number of tries.

One statement counts a try before the PIN is verified; a right PIN restores the tries. So parallel requests, restarts and an empty Redis give no further
try, and while the database is down no PIN is accepted. The last wrong try locks the PIN for a day; then all tries are restored. The devices of an
account and its registration lock have separate tries: a thief of the number cannot lock the PIN of the owner's devices, and a thief of a device cannot
lock the owner's sign-up. A PIN is stored as Argon2id over its keyed hash: without the pepper a copy of the database cannot be used to guess it.

A hashing slot is acquired before a try is counted, in this order: CountedHasher (the rate limit), ArgonPinHasher (its fair queue), Argon2id.
"""

import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.account import Caller
from vyry.accounts.phone import Pepper
from vyry.accounts.pin_rules import normalize_pin
from vyry.clock import Clock
from vyry.errors import InvalidPin, PinLocked, Unavailable
from vyry.kernel.ids import DeviceId, MailboxKey
from vyry.limits import PIN_CHECKS, Grant
from vyry.local_limits import BucketLimiter


#: How often `prove` retries because the stored verifier was replaced meanwhile.
_ROUNDS: Final = 3
_LABEL: Final = b"vyry pin 1"


@dataclass(frozen=True, slots=True)
class PinTryLimit:
    """How many wrong tries lock the PIN, and for how long."""

    limit: int = 10
    lock: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Guesser:
    """The source of a try: a device of the account, or a sign-up at its registration lock (without a device)."""

    account_id: UUID
    device_id: DeviceId | None = None
    mailbox: MailboxKey | None = None

    @property
    def is_at_lock(self) -> bool:
        """Whether this is a sign-up at the registration lock."""
        return self.device_id is None

    @classmethod
    def from_caller(cls, caller: Caller) -> "Guesser":
        """The device of the caller, for the caller's account."""
        return cls(caller.user_id, caller.device_id, caller.mailbox)


@dataclass(frozen=True, slots=True)
class Verifier:
    """The stored form of a PIN, and the id of its pepper."""

    text: str = field(repr=False)
    pepper_id: int


@dataclass(frozen=True, slots=True)
class PinRecord:
    """The stored state of a PIN."""

    verifier: Verifier
    registration_lock: bool
    wrong_tries: int
    locked_until: datetime | None
    #: The tries at the registration lock.
    lock_wrong_tries: int = 0
    lock_locked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class CountedTry:
    """A counted try. If it is wrong, `tries_left` remain; with none left the PIN is locked until `locked_until`."""

    verifier: Verifier
    tries_left: int
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class PinLockout:
    """The PIN is locked until then."""

    until: datetime


@dataclass(frozen=True, slots=True)
class WrongTry:
    """A wrong PIN."""

    guesser: Guesser
    counted_try: CountedTry
    at: datetime


class PinChange(Enum):
    """The kind of a PIN change, as notices name it."""

    SET = "set"
    CHANGED = "changed"
    REMOVED = "removed"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class NewPin:
    """A PIN to store. `registration_lock` None keeps the lock as it is; it is off for a first PIN."""

    guesser: Guesser
    at: datetime
    verifier: Verifier
    registration_lock: bool | None = None


class PinStore(Protocol):
    """Stores PINs. Every method raises `Unavailable` while the database is down. Every change of a PIN notifies the other devices of the account."""

    async def load(self, account_id: UUID) -> PinRecord | None:
        """The PIN of the account, or None."""
        ...

    async def count_try(
        self,
        account_id: UUID,
        tries: PinTryLimit,
        now: datetime,
        *,
        is_at_lock: bool = False,
        locked_from: datetime | None = None,
    ) -> CountedTry | PinLockout | None:
        """Count one try, of the devices or at the registration lock, by one statement; None: the account has no PIN.

        The last try locks the PIN, from `locked_from` on (default: `now`). A lock that has ended by `now` restores all tries.
        """
        ...

    async def restore_tries(
        self, account_id: UUID, proven: Verifier, renewed: Verifier, *, is_at_lock: bool = False
    ) -> bool:
        """Restore the tries after a right PIN, and replace the verifier by `renewed`. False: the PIN has changed meanwhile.

        A right PIN of a device restores the tries of the devices; one at the registration lock restores both.
        """
        ...

    async def record_wrong_try(self, miss: WrongTry) -> None:
        """Notify the devices of the account and record an account event."""
        ...

    async def add(self, new: NewPin) -> bool:
        """Add the first PIN of an account. False: it has one already."""
        ...

    async def replace(self, new: NewPin, proven: Verifier) -> bool:
        """Replace the proven PIN and restore all tries. False: the PIN has changed meanwhile."""
        ...

    async def reset(self, new: NewPin) -> None:
        """Set the PIN, whatever it was, and unlock it."""
        ...

    async def remove(self, by: Guesser, proven: Verifier, now: datetime) -> bool:
        """Remove the PIN. False: the PIN has changed meanwhile."""
        ...


class PinMatch(Enum):
    """The outcome of a verification. OUTDATED: the PIN is right, but the verifier has older parameters."""

    WRONG = "wrong"
    RIGHT = "right"
    OUTDATED = "outdated"


class HashingSlot(Protocol):
    """Hashes for one caller, off the event loop."""

    async def make_verifier(self, secret: bytes) -> str:
        """Hash a PIN."""
        ...

    async def match_verifier(self, verifier: str, secret: bytes) -> PinMatch:
        """Verify a PIN."""
        ...


class PinHasher(Protocol):
    """Few hashing slots, because a hash takes a core and 19 MiB. Accounts take turns; registration locks have a slot of their own.

    The queue is bounded. Too many callers of one account get RateLimited, callers of too many accounts Unavailable, both without waiting.
    """

    def check_capacity(self, guesser: Guesser) -> None:
        """Raises what `acquire_slot` would raise now."""
        ...

    def acquire_slot(self, guesser: Guesser) -> AbstractAsyncContextManager[HashingSlot]:
        """Acquire a slot for the block. Raises RateLimited, Unavailable."""
        ...


class PinGuard(Protocol):
    """Requires the account's PIN before a step."""

    async def require(self, caller: Caller, pin: str | None) -> None:
        """Return if this is the PIN of the caller's account, or the account has none. Raises InvalidPin, PinLocked, RateLimited, Unavailable."""
        ...


class OwnPinGuard(PinGuard, Protocol):
    """Requires the PIN where it is the proof itself."""

    async def prove_own(self, caller: Caller, pin: str) -> None:
        """Return if this is the PIN of the caller's account. Raises InvalidPin (also without a PIN), PinLocked, RateLimited, Unavailable."""
        ...


class Pins:
    """Verifies PINs; the OwnPinGuard of the node."""

    def __init__(self, store: PinStore, hasher: PinHasher, pepper: Pepper, clock: Clock, tries: PinTryLimit) -> None:
        self._store = store
        self.hasher = hasher
        self._pepper = pepper
        self._clock = clock
        self.tries = tries

    async def require(self, caller: Caller, pin: str | None) -> None:
        """See PinGuard; a missing PIN costs no try."""
        if pin is not None:
            await self.prove(Guesser.from_caller(caller), pin)
            return
        record = await self.current_record(caller.user_id)
        if record is not None:
            self.check_not_locked(record)
            raise InvalidPin(self.record_tries_left(record))

    async def prove_own(self, caller: Caller, pin: str) -> None:
        """See OwnPinGuard."""
        if await self.prove(Guesser.from_caller(caller), pin) is None:
            raise InvalidPin(self.tries.limit)

    async def prove(self, guesser: Guesser, pin: str) -> Verifier | None:
        """Verify a PIN and return its verifier; None: the account has no PIN (this takes as long). Raises InvalidPin, PinLocked, RateLimited, Unavailable."""
        # A try is counted with a slot acquired: many right PINs at once do not lock the PIN.
        async with self.hasher.acquire_slot(guesser) as slot:
            return await self.prove_in_slot(slot, guesser, pin)

    async def prove_in_slot(self, slot: HashingSlot, guesser: Guesser, pin: str) -> Verifier | None:
        """Like `prove`, in a slot acquired before."""
        for _ in range(_ROUNDS):
            now, confirmed = self._clock.now(), self._clock.confirmed_now()
            # While the clock is in doubt, a lock starts at the latest possible time, so it never ends early.
            counted = await self._store.count_try(
                guesser.account_id,
                self.tries,
                confirmed,
                is_at_lock=guesser.is_at_lock,
                locked_from=self._clock.latest(),
            )
            if counted is None:
                await slot.make_verifier(self._keyed(guesser.account_id, pin, self._pepper.in_use))
                return None
            if isinstance(counted, PinLockout):
                raise self._locked(counted.until, confirmed)
            proven = await self._check_try(slot, WrongTry(guesser, counted, now), pin)
            if proven is not None:
                return proven
        raise Unavailable("The PIN is being changed.")

    async def make_verifier(self, slot: HashingSlot, account_id: UUID, pin: str) -> Verifier:
        """Hash a new PIN of this account."""
        in_use = self._pepper.in_use
        return Verifier(await slot.make_verifier(self._keyed(account_id, pin, in_use)), in_use)

    async def current_record(self, account_id: UUID) -> PinRecord | None:
        """The current state of the PIN; a lock that has ended is left out."""
        record = await self._store.load(account_id)
        if record is None or record.locked_until is None or record.locked_until > self._clock.confirmed_now():
            return record
        return PinRecord(record.verifier, record.registration_lock, 0, None)

    async def tries_left(self, account_id: UUID) -> int:
        """How many tries the devices have left."""
        return self.record_tries_left(await self.current_record(account_id))

    def record_tries_left(self, record: PinRecord | None) -> int:
        """How many tries this record leaves to the devices."""
        if record is None:
            return self.tries.limit
        return 0 if record.locked_until is not None else max(0, self.tries.limit - record.wrong_tries)

    def check_not_locked(self, record: PinRecord) -> None:
        """Raises PinLocked while the PIN is locked."""
        if record.locked_until is not None:
            raise self._locked(record.locked_until, self._clock.confirmed_now())

    async def _check_try(self, slot: HashingSlot, wrong_try: WrongTry, pin: str) -> Verifier | None:
        """Verify one counted try. Returns the stored verifier; None if it was replaced meanwhile. Raises InvalidPin, after recording the try."""
        account_id, stored = wrong_try.guesser.account_id, wrong_try.counted_try.verifier
        match = await slot.match_verifier(stored.text, self._keyed(account_id, pin, stored.pepper_id))
        if match is PinMatch.WRONG:
            await self._store.record_wrong_try(wrong_try)
            raise InvalidPin(wrong_try.counted_try.tries_left)
        is_current = match is PinMatch.RIGHT and stored.pepper_id == self._pepper.in_use
        renewed = stored if is_current else await self.make_verifier(slot, account_id, pin)
        is_at_lock = wrong_try.guesser.is_at_lock
        return renewed if await self._store.restore_tries(account_id, stored, renewed, is_at_lock=is_at_lock) else None

    def _locked(self, until: datetime, now: datetime) -> PinLocked:
        # While the clock is in doubt, the end may be further away than the length of a lock.
        return PinLocked(math.ceil(min(until - now, self.tries.lock).total_seconds()))

    def _keyed(self, account_id: UUID, pin: str, pepper_id: int) -> bytes:
        """The input of Argon2id, bound to the account."""
        return self._pepper.keyed_hash(_LABEL, account_id.bytes + normalize_pin(pin).encode(), pepper_id)


class CountedHasher:
    """PinHasher that counts each acquired slot as one check; a refused request does not count."""

    def __init__(self, hasher: PinHasher, buckets: BucketLimiter) -> None:
        #: The hasher whose slots are counted.
        self.hasher = hasher
        self._buckets = buckets

    def check_capacity(self, guesser: Guesser) -> None:
        """See PinHasher."""
        self.hasher.check_capacity(guesser)

    @asynccontextmanager
    async def acquire_slot(self, guesser: Guesser) -> AsyncIterator[HashingSlot]:
        """See PinHasher; also raises RateLimited when no check is left."""
        subject = _subject(guesser)
        # Without a check left, the quota refuses: its wait is the longer one.
        if self._buckets.peek(PIN_CHECKS, subject).remaining:
            self.hasher.check_capacity(guesser)
        self._buckets.consume(subject, (PIN_CHECKS, 1))
        async with self.hasher.acquire_slot(guesser) as slot:
            yield slot


def checks_left(buckets: BucketLimiter, guesser: Guesser) -> list[tuple[str, Grant]]:
    """The remaining checks of the account's devices, or at its registration lock, by the name of the quota."""
    return [(PIN_CHECKS.name, buckets.peek(PIN_CHECKS, _subject(guesser)))]


def _subject(guesser: Guesser) -> str:
    """Devices and the registration lock have separate counts: a stolen device cannot use up the checks of the lock."""
    return f"lock {guesser.account_id}" if guesser.is_at_lock else str(guesser.account_id)
