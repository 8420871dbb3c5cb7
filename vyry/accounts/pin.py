"""PINs: the second thing that only the owner knows, and how few times anybody may guess at it.

A try is counted by one statement of the database before the PIN is looked at, and given back when it was right. So parallel tries, restarts and
an empty Redis win nobody another one, and while the database is away nobody gets in. After the last try the PIN is locked for a day; then all
tries are there again. The devices of an account and its registration lock have tries of their own: a thief of the number does not lock the PIN of the owner's
devices, and a thief of a device does not lock the owner's way back in. A PIN is kept as Argon2id over its keyed hash: whoever has the database alone cannot even begin to guess.
"""

import math
from contextlib import AbstractAsyncContextManager
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


#: How often a proof is begun anew because the PIN was stored anew meanwhile.
_ROUNDS: Final = 3
_LABEL: Final = b"vyry pin 1"


@dataclass(frozen=True, slots=True)
class PinTryLimit:
    """How many wrong PINs lock the PIN, and for how long."""

    limit: int = 10
    lock: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Guesser:
    """Who gives a PIN: a device of the account, or somebody at its registration lock, who has none."""

    account_id: UUID
    device_id: DeviceId | None = None
    mailbox: MailboxKey | None = None

    @property
    def is_at_lock(self) -> bool:
        """Whether this is no device of the account, but a sign-up that its registration lock holds."""
        return self.device_id is None

    @classmethod
    def from_caller(cls, caller: Caller) -> "Guesser":
        """This caller about the own account."""
        return cls(caller.user_id, caller.device_id, caller.mailbox)


@dataclass(frozen=True, slots=True)
class Verifier:
    """What is stored of a PIN, and under which pepper."""

    text: str = field(repr=False)
    pepper_id: int


@dataclass(frozen=True, slots=True)
class PinRecord:
    """A PIN as it stands."""

    verifier: Verifier
    registration_lock: bool
    wrong_tries: int
    locked_until: datetime | None
    #: Those at the registration lock.
    lock_wrong_tries: int = 0
    lock_locked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class CountedTry:
    """A try that has been counted; if it is wrong, `left` remain, and with none left the PIN is locked until then."""

    verifier: Verifier
    tries_left: int
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class PinLockout:
    """No try before that moment."""

    until: datetime


@dataclass(frozen=True, slots=True)
class WrongTry:
    """A wrong PIN."""

    guesser: Guesser
    counted_try: CountedTry
    at: datetime


class PinChange(Enum):
    """What can become of a PIN, as notices tell it."""

    SET = "set"
    CHANGED = "changed"
    REMOVED = "removed"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class NewPin:
    """A PIN about to be stored. `registration_lock` None leaves the lock as it was, and off at first."""

    guesser: Guesser
    at: datetime
    verifier: Verifier
    registration_lock: bool | None = None


class PinStore(Protocol):
    """The truth about PINs. Every method raises `Unavailable` when the database is away. Whatever changes a PIN tells the account's other devices."""

    async def load(self, account_id: UUID) -> PinRecord | None:
        """The PIN of the account, if it has one."""
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
        """Count one try of the devices, or at the registration lock, by one statement; the last one locks the PIN there. A lock that is over by `now` leaves all tries. None: there is no PIN.

        A lock lasts from `locked_from`, `now` unless given.
        """
        ...

    async def restore_tries(
        self, account_id: UUID, proven: Verifier, renewed: Verifier, *, is_at_lock: bool = False
    ) -> bool:
        """All tries of the devices are there again, for this PIN was given; `renewed` is stored in its place. False: the PIN is another one by now.

        Given at the registration lock it gives back both; a device cannot give more tries to who stands at the lock.
        """
        ...

    async def record_wrong_try(self, miss: WrongTry) -> None:
        """Tell the owner's devices and note it."""
        ...

    async def add(self, new: NewPin) -> bool:
        """The first PIN of an account. False: it has one."""
        ...

    async def replace(self, new: NewPin, proven: Verifier) -> bool:
        """Another PIN in the place of the one proven; all tries are there. False: that one is no more."""
        ...

    async def reset(self, new: NewPin) -> None:
        """This PIN, whatever was before: also a lock is lifted."""
        ...

    async def remove(self, by: Guesser, proven: Verifier, now: datetime) -> bool:
        """No PIN any more. False: the one proven is no more."""
        ...


class PinMatch(Enum):
    """How a PIN and a verifier go together. OUTDATED: they do, but verifiers are made otherwise by now."""

    WRONG = "wrong"
    RIGHT = "right"
    OUTDATED = "outdated"


class HashingSlot(Protocol):
    """Where one caller at a time hashes, off the event loop."""

    async def make_verifier(self, secret: bytes) -> str:
        """A new verifier."""
        ...

    async def match_verifier(self, verifier: str, secret: bytes) -> PinMatch:
        """Whether this secret made the verifier."""
        ...


class PinHasher(Protocol):
    """Few places to hash at, because each takes a processor and 19 MiB. Accounts take turns at them; registration locks have a place of their own.

    A bounded number of callers may wait: too many of one account are RateLimited, callers of too many accounts Unavailable, both at once.
    """

    def check_capacity(self, guesser: Guesser) -> None:
        """Raises what `place` would raise now."""
        ...

    def acquire_slot(self, guesser: Guesser) -> AbstractAsyncContextManager[HashingSlot]:
        """A place for the length of the block. Raises RateLimited, Unavailable."""
        ...


class PinGuard(Protocol):
    """Requires the account's PIN before a step."""

    async def require(self, caller: Caller, pin: str | None) -> None:
        """Return if this is the PIN of the caller's account, or the account has none. Raises InvalidPin, PinLocked, RateLimited, Unavailable."""
        ...


class Pins:
    """Verifies PINs; the PinGuard of the node."""

    def __init__(self, store: PinStore, hasher: PinHasher, pepper: Pepper, clock: Clock, tries: PinTryLimit) -> None:
        self._store = store
        self.hasher = hasher
        self._pepper = pepper
        self._clock = clock
        self.tries = tries

    async def require(self, caller: Caller, pin: str | None) -> None:
        """The caller's account has no PIN, or this is it; giving none costs no try. Raises InvalidPin, PinLocked, RateLimited, Unavailable."""
        if pin is not None:
            await self.prove(Guesser.from_caller(caller), pin)
            return
        record = await self.current_record(caller.user_id)
        if record is not None:
            self.check_not_locked(record)
            raise InvalidPin(self.record_tries_left(record))

    async def prove(self, guesser: Guesser, pin: str) -> Verifier | None:
        """The verifier that this PIN fits. None: the account has no PIN, which takes as long. Raises InvalidPin, PinLocked, RateLimited, Unavailable."""
        # Tries are counted by those alone who have a place: right PINs that come all at once lock nothing.
        async with self.hasher.acquire_slot(guesser) as place:
            return await self.prove_in_slot(place, guesser, pin)

    async def prove_in_slot(self, place: HashingSlot, guesser: Guesser, pin: str) -> Verifier | None:
        """Like `prove`, for who has a place already."""
        for _ in range(_ROUNDS):
            now, confirmed = self._clock.now(), self._clock.confirmed_now()
            # A lock that begins while the clock is in doubt has its full length whichever way the clock turns out to be wrong.
            trial = await self._store.count_try(
                guesser.account_id,
                self.tries,
                confirmed,
                is_at_lock=guesser.is_at_lock,
                locked_from=self._clock.latest(),
            )
            if trial is None:
                await place.make_verifier(self._keyed(guesser.account_id, pin, self._pepper.in_use))
                return None
            if isinstance(trial, PinLockout):
                raise self._locked(trial.until, confirmed)
            proven = await self._check_try(place, WrongTry(guesser, trial, now), pin)
            if proven is not None:
                return proven
        raise Unavailable("The PIN is being changed.")

    async def make_verifier(self, place: HashingSlot, account_id: UUID, pin: str) -> Verifier:
        """A verifier for a new PIN of this account."""
        in_use = self._pepper.in_use
        return Verifier(await place.make_verifier(self._keyed(account_id, pin, in_use)), in_use)

    async def current_record(self, account_id: UUID) -> PinRecord | None:
        """The PIN as it stands at this moment: a lock that is over is none."""
        record = await self._store.load(account_id)
        if record is None or record.locked_until is None or record.locked_until > self._clock.confirmed_now():
            return record
        return PinRecord(record.verifier, record.registration_lock, 0, None)

    async def tries_left(self, account_id: UUID) -> int:
        """How many tries the devices have now."""
        return self.record_tries_left(await self.current_record(account_id))

    def record_tries_left(self, record: PinRecord | None) -> int:
        """How many tries this standing leaves."""
        if record is None:
            return self.tries.limit
        return 0 if record.locked_until is not None else max(0, self.tries.limit - record.wrong_tries)

    def check_not_locked(self, record: PinRecord) -> None:
        """Raises PinLocked while no try is left."""
        if record.locked_until is not None:
            raise self._locked(record.locked_until, self._clock.confirmed_now())

    async def _check_try(self, place: HashingSlot, miss: WrongTry, pin: str) -> Verifier | None:
        """The verifier as it is stored from now on; None if the PIN was stored anew meanwhile. `miss` is noted if it is one."""
        account_id, kept = miss.guesser.account_id, miss.counted_try.verifier
        fit = await place.match_verifier(kept.text, self._keyed(account_id, pin, kept.pepper_id))
        if fit is PinMatch.WRONG:
            await self._store.record_wrong_try(miss)
            raise InvalidPin(miss.counted_try.tries_left)
        is_current = fit is PinMatch.RIGHT and kept.pepper_id == self._pepper.in_use
        renewed = kept if is_current else await self.make_verifier(place, account_id, pin)
        is_at_lock = miss.guesser.is_at_lock
        return renewed if await self._store.restore_tries(account_id, kept, renewed, is_at_lock=is_at_lock) else None

    def _locked(self, until: datetime, now: datetime) -> PinLocked:
        # While the clock is in doubt the end may lie further ahead than any lock lasts.
        return PinLocked(math.ceil(min(until - now, self.tries.lock).total_seconds()))

    def _keyed(self, account_id: UUID, pin: str, pepper_id: int) -> bytes:
        """What Argon2id is made over: a PIN of one account is worth nothing for another."""
        return self._pepper.keyed_hash(_LABEL, account_id.bytes + normalize_pin(pin).encode(), pepper_id)
