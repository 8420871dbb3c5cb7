"""Deletion of an account: its devices, number and username at once, everything else within a minute.

The first step is one transaction, requested by the owner (with a one-time code sent to the account's number, and the PIN) or by the operator. The sweeper
then erases the remaining rows in bounded batches; after a crash it continues.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.account import AccountStore, Caller, EndedDevice
from vyry.accounts.device_status import SessionRevocations
from vyry.accounts.otp import Guess, Purpose
from vyry.accounts.phone import Pepper
from vyry.accounts.pin import OwnPinGuard
from vyry.accounts.proofs import CodeProof, RecoveryCheck, RecoveryProof, missing_code_error, no_number_error
from vyry.clock import Clock
from vyry.errors import InvalidToken, NotFound
from vyry.kernel.ids import UserId


#: Transactions that began before the deletion (a post that read the mailboxes, a new conversation) have ended by then.
ERASE_DELAY: Final = timedelta(seconds=15)


class DeletionStore(Protocol):
    """Deletes accounts. Both methods raise `Unavailable` while the database is down."""

    async def delete(self, user_id: UserId, numbers: Collection[str], now: datetime) -> Sequence[EndedDevice]:
        """Mark the account as deleted, end its devices, release its number, reserve its usernames for no account and queue notices to its peers, in one transaction.

        `numbers` are the hashes of its number under every pepper; their one-time codes are deleted too. Returns the devices that ended. Raises
        NotFound if the account is deleted already.
        """
        ...

    async def erase(self, now: datetime, limit: int) -> int:
        """Delete at most about `limit` remaining rows of deleted accounts, each step in its own transaction; returns how many were deleted.

        It begins ERASE_DELAY after the deletion. Envelopes that the account sent and that were not collected yet stay in the mailboxes of their recipients.
        """
        ...


class OtpRedeemer(Protocol):
    """Redeems one-time codes."""

    async def redeem(self, challenge_id: UUID, purpose: Purpose, code: str, phone_sealed: bytes | None = None) -> Guess:
        """Consume a code that was sent to the number in `phone_sealed`; a challenge of another number is unknown. Raises InvalidOtp."""
        ...


class Deletion:
    """Deletes the caller's account."""

    def __init__(
        self,
        store: DeletionStore,
        *,
        accounts: AccountStore,
        codes: OtpRedeemer,
        pins: OwnPinGuard,
        recovery: RecoveryCheck,
        pepper: Pepper,
        revocations: SessionRevocations,
        clock: Clock,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._codes = codes
        self._pins = pins
        self._recovery = recovery
        self._pepper = pepper
        self._revocations = revocations
        self._clock = clock

    async def delete(self, caller: Caller, proof: CodeProof | RecoveryProof | None, pin: str | None) -> None:
        """Delete the account: its tokens and sockets end within a second.

        An account with a number needs the PIN if one is set, and a one-time code or the recovery code. One without a number needs the recovery code or the
        PIN. The PIN is checked first: a wrong PIN leaves the code valid.

        Raises InvalidPin, PinLocked, InvalidOtp, InvalidRecoveryCode, InvalidRequest, InvalidToken, RateLimited, Unavailable.
        """
        try:
            account = await self._accounts.load(caller.user_id)
            sealed = account.phone_sealed
            if sealed is None:
                await self._check_without_number(caller, proof, pin)
            else:
                await self._check_with_number(caller, proof, pin, sealed)
            hashes = () if sealed is None else self._hashes(sealed)
            ended = await self._store.delete(caller.user_id, hashes, self._clock.now())
        except NotFound:
            raise InvalidToken from None
        await self._revocations.announce(ended)

    async def _check_with_number(
        self, caller: Caller, proof: CodeProof | RecoveryProof | None, pin: str | None, sealed: bytes
    ) -> None:
        await self._pins.require(caller, pin)
        if proof is None:
            raise missing_code_error()
        if isinstance(proof, RecoveryProof):
            await self._recovery.check(caller, proof.code)
        else:
            await self._codes.redeem(proof.challenge_id, Purpose.DELETE_ACCOUNT, proof.otp, phone_sealed=sealed)

    async def _check_without_number(
        self, caller: Caller, proof: CodeProof | RecoveryProof | None, pin: str | None
    ) -> None:
        if isinstance(proof, CodeProof) or (proof is None and pin is None):
            raise no_number_error()
        if pin is not None:
            await self._pins.prove_own(caller, pin)
        if proof is not None:
            await self._recovery.check(caller, proof.code)

    async def erase(self, limit: int) -> int:
        """Erase remaining rows of deleted accounts, for the sweeper; returns how many were deleted."""
        return await self._store.erase(self._clock.now(), limit)

    def _hashes(self, sealed: bytes) -> Collection[str]:
        """The hashes of a sealed number under every pepper."""
        return self._pepper.hide(self._pepper.unseal(sealed)).hashes.values()
