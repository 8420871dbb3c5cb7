"""Fake of the registration lock store, in dictionaries."""

from datetime import datetime
from uuid import UUID

from tests.fakes.accounts import AccountState
from vyry.accounts.registration_lock import StoredUnlockToken, UnlockTarget
from vyry.kernel.ids import UserId


class MemoryUnlockTokens:
    """UnlockTokenStore."""

    def __init__(self, ledger: AccountState) -> None:
        self._ledger = ledger

    async def save_token(self, account_id: UUID, pending: StoredUnlockToken, now: datetime) -> None:
        pins = self._ledger.pins
        pins.registrations[pending.hash] = account_id, pending.expires_at
        pins.notices.append((account_id, {"name": "registrationAttempted"}, None))
        pins.events.append((account_id, "registrationLocked"))

    async def find_pending(self, token_hash: str, now: datetime) -> UnlockTarget | None:
        account_id, expires_at = self._ledger.pins.registrations.get(token_hash, (None, now))
        if account_id is None or expires_at <= now:
            return None
        pin = self._ledger.load_registration_lock(UserId(account_id))
        return UnlockTarget(account_id, pin is not None and pin.requires_pin(now.date()))
