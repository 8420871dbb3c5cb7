"""The end of an account: its devices, number and name at once, everything else within a minute.

The first part is one transaction, asked for by the owner (with the code of a message to the account's own number, and the PIN) or by the operator. The
second is the sweeper's: bounded batches that begin where the last one ended, so that a crash costs time and leaves nothing behind.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.account import AccountStore, Caller, EndedDevice
from vyry.accounts.device_status import SessionRevocations
from vyry.accounts.otp import Guess, Purpose
from vyry.accounts.phone import Pepper
from vyry.accounts.pin import PinGuard
from vyry.clock import Clock
from vyry.errors import InvalidToken, NotFound
from vyry.kernel.ids import UserId


#: What was begun before the deletion (a post that still saw the mailboxes, a conversation just opened) is over by then, whatever happened to it.
ERASE_DELAY: Final = timedelta(seconds=15)


class DeletionStore(Protocol):
    """Where accounts end. Both methods raise `Unavailable` when the database is away."""

    async def delete(self, user_id: UserId, numbers: Collection[str], now: datetime) -> Sequence[EndedDevice]:
        """End all devices, set the number free, let its usernames rest (nobody can take them back), have the peers told, and mark the account as deleted, all in one transaction.

        `numbers` are all hashes that its number may stand under, whose codes go too. Answers the devices that ended. Raises NotFound for an account that is deleted.
        """
        ...

    async def erase(self, now: datetime, limit: int) -> int:
        """Delete at most some `limit` rows of what deleted accounts left, in steps each of which stands by itself; answers how many went.

        Nothing of an account is left SETTLED after its deletion and a moment. What its people were sent by it and have not fetched yet stays theirs.
        """
        ...


class OtpRedeemer(Protocol):
    """Judges one-time codes."""

    async def redeem(self, challenge_id: UUID, purpose: Purpose, code: str, phone_sealed: bytes | None = None) -> Guess:
        """Use up a code for the number that is sealed in `of`; of any other it is unknown. Raises InvalidOtp."""
        ...


class Deletion:
    """Deletes the caller's account."""

    def __init__(
        self,
        store: DeletionStore,
        *,
        accounts: AccountStore,
        codes: OtpRedeemer,
        pins: PinGuard,
        pepper: Pepper,
        revocations: SessionRevocations,
        clock: Clock,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._codes = codes
        self._pins = pins
        self._pepper = pepper
        self._revocations = revocations
        self._clock = clock

    async def delete(self, caller: Caller, challenge_id: UUID, otp: str, pin: str | None) -> None:
        """Delete the account: its tokens and sockets end within a second. Raises InvalidPin, PinLocked, InvalidOtp, InvalidToken.

        The PIN comes first, for a wrong one leaves the code good.
        """
        try:
            account = await self._accounts.load(caller.user_id)
            await self._pins.require(caller, pin)
            sealed = account.phone_sealed
            await self._codes.redeem(challenge_id, Purpose.DELETE_ACCOUNT, otp, phone_sealed=sealed)
            ended = await self._store.delete(caller.user_id, self._hashes(sealed), self._clock.now())
        except NotFound:
            raise InvalidToken from None
        await self._revocations.announce(ended)

    async def erase(self, limit: int) -> int:
        """What the sweeper does about accounts that were deleted; answers how much that was."""
        return await self._store.erase(self._clock.now(), limit)

    def _hashes(self, sealed: bytes) -> Collection[str]:
        """The names that a sealed number has or had in the database."""
        return self._pepper.hide(self._pepper.unseal(sealed)).hashes.values()
