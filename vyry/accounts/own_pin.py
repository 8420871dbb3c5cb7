"""The PIN of an account in the hands of its owner."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from vyry.accounts.account import AccountStore, Caller
from vyry.accounts.otp import OneTimeCodes, Purpose
from vyry.accounts.phone import Pepper
from vyry.accounts.pin import Guesser, NewPin, Pins, PinStore
from vyry.accounts.pin_rules import check_new_pin
from vyry.clock import Clock
from vyry.errors import InvalidPin, InvalidToken, NotFound


@dataclass(frozen=True, slots=True)
class PinStanding:
    """What the owner is shown of the PIN."""

    is_set: bool
    registration_lock: bool
    attempts_remaining: int
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class PinWish:
    """A PIN that the owner wants, the present one as proof, and whether it shall guard new sign-ups (None: as before)."""

    pin: str
    current: str | None
    registration_lock: bool | None


@dataclass(frozen=True, slots=True)
class PinReset:
    """A new PIN for one that was forgotten, with a code sent to the account's number as proof."""

    challenge_id: UUID
    otp: str
    pin: str


@dataclass(frozen=True, slots=True)
class PinMeans:
    """What keeping a PIN takes."""

    store: PinStore
    accounts: AccountStore
    codes: OneTimeCodes
    pepper: Pepper
    clock: Clock


class OwnPin:
    """Shows, sets, changes, resets and removes the caller's PIN."""

    def __init__(self, pins: Pins, means: PinMeans) -> None:
        self._pins = pins
        self._means = means

    async def of(self, caller: Caller) -> PinStanding:
        """How the PIN stands."""
        record = await self._pins.standing(caller.user_id)
        left = self._pins.tries_of(record)
        if record is None:
            return PinStanding(is_set=False, registration_lock=False, attempts_remaining=left, locked_until=None)
        return PinStanding(
            is_set=True,
            registration_lock=record.registration_lock,
            attempts_remaining=left,
            locked_until=record.locked_until,
        )

    async def verify(self, caller: Caller, pin: str) -> None:
        """This is the PIN. Raises InvalidPin (also if there is none), PinLocked, RateLimited, Unavailable."""
        if await self._pins.prove(Guesser.of(caller), pin) is None:
            raise InvalidPin(self._pins.tries.limit)

    async def set(self, caller: Caller, wish: PinWish) -> PinStanding:
        """Set a first PIN, or change the present one, which counts as a try at it. Raises InvalidRequest, InvalidPin, PinLocked, RateLimited, Unavailable."""
        await self._check(caller, wish.pin, "pin")
        if (record := await self._pins.standing(caller.user_id)) is not None:
            self._pins.refuse_locked(record)
            if wish.current is None:
                raise InvalidPin(self._pins.tries_of(record))
        by, proven = Guesser.of(caller), None
        async with self._pins.hasher.place(by) as place:
            if record is not None and wish.current is not None:
                proven = await self._pins.prove_at(place, by, wish.current)
            verifier = await self._pins.make(place, caller.user_id, wish.pin)
        new = NewPin(by, self._means.clock.now(), verifier, wish.registration_lock)
        store = self._means.store
        if not (await store.replace(new, proven) if proven else await store.add(new)):
            # Another device was quicker: what was proven here is not the PIN any more.
            raise InvalidPin(await self._pins.left(caller.user_id))
        return await self.of(caller)

    async def reset(self, caller: Caller, reset: PinReset) -> PinStanding:
        """Set a PIN by a code sent to the account's own number; a lock is lifted. Raises InvalidRequest, InvalidOtp, RateLimited, Unavailable."""
        sealed = await self._check(caller, reset.pin, "newPin")
        # The place comes first: a code is not used up for an answer of 503.
        async with self._pins.hasher.place(Guesser.of(caller)) as place:
            _ = await self._means.codes.redeem(reset.challenge_id, Purpose.PIN_RESET, reset.otp, of=sealed)
            verifier = await self._pins.make(place, caller.user_id, reset.pin)
        await self._means.store.reset(NewPin(Guesser.of(caller), self._means.clock.now(), verifier))
        return await self.of(caller)

    async def remove(self, caller: Caller, pin: str) -> PinStanding:
        """Have no PIN any more. Raises InvalidPin (also if there is none), PinLocked, RateLimited, Unavailable."""
        proven = await self._pins.prove(Guesser.of(caller), pin)
        if proven is None or not await self._means.store.remove(Guesser.of(caller), proven, self._means.clock.now()):
            raise InvalidPin(await self._pins.left(caller.user_id))
        return await self.of(caller)

    async def _check(self, caller: Caller, pin: str, field: str) -> bytes:
        """Refuse a PIN that is easy to guess; answers the account's sealed number."""
        try:
            account = await self._means.accounts.load(caller.user_id)
        except NotFound:
            raise InvalidToken from None
        check_new_pin(pin, self._means.pepper.unseal(account.phone_sealed).e164, field)
        return account.phone_sealed
