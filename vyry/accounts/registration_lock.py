"""The registration lock: whoever proves the number of an account has to know its PIN, too, until nobody has used the account for a week.

So a number taken over (a swapped SIM, a provider's mistake) does not give the account away, and a number that was given to somebody else is not
locked for ever. A lock that holds changes nothing about the account; its devices are told.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.pin import Verifier


#: How long after its account was last seen a lock holds.
LOCK_AGE: Final = timedelta(days=7)
#: How long a proven number waits for the PIN.
TOKEN_LIFETIME: Final = timedelta(seconds=600)


class RegistrationLocked(Exception):
    """The registration lock of this account holds; nothing has changed."""

    def __init__(self, account_id: UUID) -> None:
        super().__init__()
        self.account_id = account_id


@dataclass(frozen=True, slots=True)
class RegistrationLock:
    """The PIN of an account that somebody signs up to, and the last day on which any of its devices was seen, ended ones too."""

    verifier: Verifier
    is_enabled: bool
    last_seen_on: date | None

    def is_abandoned(self, today: date) -> bool:
        """Whether nobody has used the account for so long that it may be somebody else's by now."""
        return self.last_seen_on is None or today - self.last_seen_on > LOCK_AGE

    def requires_pin(self, today: date) -> bool:
        """Whether a sign-up needs the PIN."""
        return self.is_enabled and not self.is_abandoned(today)


@dataclass(frozen=True, slots=True)
class PendingToken:
    """A registration token as it is stored: as a hash."""

    hash: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PendingUnlock:
    """Whose number was proven, and whether the lock holds still."""

    account_id: UUID
    is_locked: bool


class LockStore(Protocol):
    """Where proven numbers wait for the PIN. Both methods raise `Unavailable` when the database is away."""

    async def save_token(self, account_id: UUID, pending: PendingToken, now: datetime) -> None:
        """Keep the token, tell the owner's devices and note it."""
        ...

    async def find_pending(self, token_hash: str, now: datetime) -> PendingUnlock | None:
        """Who waits with this token. None: nobody (any more)."""
        ...
