"""The registration lock in dictionaries: the twin of the database adapter, for tests."""

from datetime import datetime
from uuid import UUID

from vyry.accounts.lock import PendingToken, Waiting
from vyry.adapters.memory_accounts import AccountLedger
from vyry.ids import UserId


class MemoryLocks:
    """LockStore."""

    def __init__(self, ledger: AccountLedger) -> None:
        self._ledger = ledger

    async def hold(self, account_id: UUID, pending: PendingToken, now: datetime) -> None:  # noqa: ARG002 - nobody asks when
        pins = self._ledger.pins
        pins.registrations[pending.hash] = account_id, pending.expires_at
        pins.told.append((account_id, {"name": "registrationAttempted"}, None))
        pins.noted.append((account_id, "registrationLocked"))

    async def waiting(self, token_hash: str, now: datetime) -> Waiting | None:
        account_id, expires_at = self._ledger.pins.registrations.get(token_hash, (None, now))
        if account_id is None or expires_at <= now:
            return None
        pin = self._ledger.pin_at_the_door(UserId(account_id))
        return Waiting(account_id, pin is not None and pin.holds(now.date()))
