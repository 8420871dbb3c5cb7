"""The registration lock: signing up to an existing account needs its PIN, until the account has not been used for a week.

So a number taken over (a swapped SIM, an error of the provider) does not give the account away, and a number assigned to a new subscriber is not locked
for ever. A sign-up refused by the lock changes nothing about the account and notifies its devices.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.pin import Verifier


#: How long after the account was last used the lock is on.
LOCK_AGE: Final = timedelta(days=7)
#: How long an unlock token is valid.
TOKEN_LIFETIME: Final = timedelta(seconds=600)


class RegistrationLocked(Exception):
    """The registration lock of this account is on; nothing has changed."""

    def __init__(self, account_id: UUID) -> None:
        super().__init__()
        self.account_id = account_id


@dataclass(frozen=True, slots=True)
class RegistrationLock:
    """The lock of an account, and the last day on which any of its devices was seen, ended ones included."""

    verifier: Verifier
    is_enabled: bool
    last_seen_on: date | None

    def is_abandoned(self, today: date) -> bool:
        """Whether the account was unused for so long that its number may have a new subscriber."""
        return self.last_seen_on is None or today - self.last_seen_on > LOCK_AGE

    def requires_pin(self, today: date) -> bool:
        """Whether a sign-up needs the PIN."""
        return self.is_enabled and not self.is_abandoned(today)


@dataclass(frozen=True, slots=True)
class StoredUnlockToken:
    """An unlock token as it is stored: its hash."""

    hash: str
    expires_at: datetime
    #: The hash of the recovery code that passed before; None: a one-time code did.
    recovery_hash: str | None = None


@dataclass(frozen=True, slots=True)
class UnlockTarget:
    """The account of an unlock token, whether its lock is still on, and the hash of the recovery code that passed before (None: a one-time code did)."""

    account_id: UUID
    is_locked: bool
    recovery_hash: str | None = None


class UnlockTokenStore(Protocol):
    """Stores unlock tokens. Both methods raise `Unavailable` while the database is down."""

    async def save_token(self, account_id: UUID, pending: StoredUnlockToken, now: datetime) -> None:
        """Save the token, notify the devices of the account and record an account event."""
        ...

    async def find_pending(self, token_hash: str, now: datetime) -> UnlockTarget | None:
        """Find the account of a token. None: the token is unknown or expired."""
        ...
