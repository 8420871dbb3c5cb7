"""The PIN of an account, for its owner."""

from dataclasses import dataclass
from datetime import datetime

from vyry.accounts.account import AccountStore, Caller
from vyry.accounts.otp import OneTimeCodes, Purpose
from vyry.accounts.phone import Pepper
from vyry.accounts.pin import Guesser, NewPin, Pins, PinStore
from vyry.accounts.pin_rules import check_new_pin
from vyry.accounts.proofs import CodeProof, RecoveryCheck, RecoveryProof, missing_code_error, no_number_error
from vyry.clock import Clock
from vyry.errors import InvalidPin, InvalidToken, NotFound


@dataclass(frozen=True, slots=True)
class PinStatus:
    """The state of the PIN, for the owner."""

    is_set: bool
    registration_lock: bool
    attempts_remaining: int
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class PinUpdate:
    """A new PIN, the current one as proof, and whether sign-ups need the PIN (None: as before)."""

    pin: str
    current: str | None
    registration_lock: bool | None


@dataclass(frozen=True, slots=True)
class PinReset:
    """A new PIN in place of a forgotten one, with the proof: a one-time code sent to the account's number, or the recovery code."""

    pin: str
    proof: CodeProof | RecoveryProof | None


class OwnPin:
    """Shows, sets, changes, resets and removes the caller's PIN."""

    def __init__(
        self,
        pins: Pins,
        *,
        store: PinStore,
        accounts: AccountStore,
        codes: OneTimeCodes,
        recovery: RecoveryCheck,
        pepper: Pepper,
        clock: Clock,
    ) -> None:
        self._pins = pins
        self._store = store
        self._accounts = accounts
        self._codes = codes
        self._recovery = recovery
        self._pepper = pepper
        self._clock = clock

    async def status(self, caller: Caller) -> PinStatus:
        """The state of the PIN."""
        record = await self._pins.current_record(caller.user_id)
        left = self._pins.record_tries_left(record)
        if record is None:
            return PinStatus(is_set=False, registration_lock=False, attempts_remaining=left, locked_until=None)
        return PinStatus(
            is_set=True,
            registration_lock=record.registration_lock,
            attempts_remaining=left,
            locked_until=record.locked_until,
        )

    async def verify(self, caller: Caller, pin: str) -> None:
        """Return if this is the PIN. Raises InvalidPin (also without a PIN), PinLocked, RateLimited, Unavailable."""
        await self._pins.prove_own(caller, pin)

    async def set(self, caller: Caller, update: PinUpdate) -> PinStatus:
        """Set a first PIN, or change the current one, which costs a try. Raises InvalidRequest, InvalidPin, PinLocked, RateLimited, Unavailable."""
        await self._check(caller, update.pin, "pin")
        if (record := await self._pins.current_record(caller.user_id)) is not None:
            self._pins.check_not_locked(record)
            if update.current is None:
                raise InvalidPin(self._pins.record_tries_left(record))
        guesser, proven = Guesser.from_caller(caller), None
        async with self._pins.hasher.acquire_slot(guesser) as slot:
            if record is not None and update.current is not None:
                proven = await self._pins.prove_in_slot(slot, guesser, update.current)
            verifier = await self._pins.make_verifier(slot, caller.user_id, update.pin)
        new = NewPin(guesser, self._clock.now(), verifier, update.registration_lock)
        if not (await self._store.replace(new, proven) if proven else await self._store.add(new)):
            # Another device has changed the PIN meanwhile.
            raise InvalidPin(await self._pins.tries_left(caller.user_id))
        return await self.status(caller)

    async def reset(self, caller: Caller, reset: PinReset) -> PinStatus:
        """Set a PIN with a proof, and unlock it. Raises InvalidRequest, InvalidOtp, InvalidRecoveryCode, RateLimited, Unavailable."""
        sealed = await self._check(caller, reset.pin, "newPin")
        # The slot is acquired first: a 503 does not consume the code.
        async with self._pins.hasher.acquire_slot(Guesser.from_caller(caller)) as slot:
            await self._check_proof(caller, reset.proof, sealed)
            verifier = await self._pins.make_verifier(slot, caller.user_id, reset.pin)
        await self._store.reset(NewPin(Guesser.from_caller(caller), self._clock.now(), verifier))
        return await self.status(caller)

    async def remove(self, caller: Caller, pin: str) -> PinStatus:
        """Remove the PIN. Raises InvalidPin (also without a PIN), PinLocked, RateLimited, Unavailable."""
        proven = await self._pins.prove(Guesser.from_caller(caller), pin)
        if proven is None or not await self._store.remove(Guesser.from_caller(caller), proven, self._clock.now()):
            raise InvalidPin(await self._pins.tries_left(caller.user_id))
        return await self.status(caller)

    async def _check_proof(self, caller: Caller, proof: CodeProof | RecoveryProof | None, sealed: bytes | None) -> None:
        if proof is None:
            raise no_number_error() if sealed is None else missing_code_error()
        if isinstance(proof, RecoveryProof):
            await self._recovery.check(caller, proof.code)
        elif sealed is None:
            raise no_number_error()
        else:
            _ = await self._codes.redeem(proof.challenge_id, Purpose.PIN_RESET, proof.otp, phone_sealed=sealed)

    async def _check(self, caller: Caller, pin: str, field: str) -> bytes | None:
        """Check a new PIN against the rules, and return the account's sealed number (None: it has none). Raises InvalidRequest, InvalidToken."""
        try:
            account = await self._accounts.load(caller.user_id)
        except NotFound:
            raise InvalidToken from None
        number = None if account.phone_sealed is None else self._pepper.unseal(account.phone_sealed).e164
        check_new_pin(pin, number, field)
        return account.phone_sealed
