"""The registration lock in the database."""

from datetime import datetime
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.events import AccountEvent
from vyry.accounts.pin import Verifier
from vyry.accounts.registration_lock import PendingToken, PendingUnlock, RegistrationLock
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.models import UnlockTokenRow
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice
from vyry.storage.raw_sql import fetch, to_date, to_uuid


class TortoiseUnlockTokens:
    """LockStore on PostgreSQL or SQLite."""

    async def save_token(self, account_id: UUID, pending: PendingToken, now: datetime) -> None:
        lock = "UPDATE account SET created_at = created_at WHERE id = $1 AND deleted_at IS NULL RETURNING id"
        async with transaction() as tx:
            if not await fetch(tx, lock, account_id):
                return
            _ = await UnlockTokenRow.create(
                tx, token_hash=pending.hash, account_id=account_id, expires_at=pending.expires_at
            )
            await record_event(tx, AccountEvent(account_id, "registrationLocked", now))
            await enqueue_notice(tx, NewNotice(account_id, Audience.OWN, {"name": "registrationAttempted"}, now))

    async def find_pending(self, token_hash: str, now: datetime) -> PendingUnlock | None:
        find = "SELECT account_id FROM registration WHERE token_hash = $1 AND expires_at > $2"
        async with database_guard():
            found = await fetch(connection(), find, token_hash, now)
            if not found:
                return None
            account_id = to_uuid(found[0]["account_id"])
            pin = await load_registration_lock(connection(), account_id)
        return PendingUnlock(account_id, pin is not None and pin.requires_pin(now.date()))


async def load_registration_lock(tx: BaseDBAsyncClient, account_id: UUID) -> RegistrationLock | None:
    """What a sign-up to this account has to look at first."""
    find = (
        "SELECT verifier, pepper_id, registration_lock, (SELECT MAX(last_seen_on) FROM device WHERE account_id = $1) AS last_seen_on"
        " FROM account_pin WHERE account_id = $1"
    )
    found = await fetch(tx, find, account_id)
    if not found:
        return None
    row = found[0]
    seen = None if row["last_seen_on"] is None else to_date(row["last_seen_on"])
    return RegistrationLock(Verifier(row["verifier"], row["pepper_id"]), bool(row["registration_lock"]), seen)


async def consume_registration_token(tx: BaseDBAsyncClient, token_hash: str, now: datetime) -> UUID | None:
    """Lock the account whose number waits with this token, and take the token, which is good once. None: it is not good."""
    lock = (
        "UPDATE account SET created_at = created_at WHERE deleted_at IS NULL"
        " AND id IN (SELECT account_id FROM registration WHERE token_hash = $1 AND expires_at > $2) RETURNING id"
    )
    take = "DELETE FROM registration WHERE token_hash = $1 RETURNING account_id"
    if not await fetch(tx, lock, token_hash, now):
        return None
    taken = await fetch(tx, take, token_hash)
    return to_uuid(taken[0]["account_id"]) if taken else None


async def delete_registrations(tx: BaseDBAsyncClient, account_id: UUID) -> None:
    """Somebody signed up: whoever else proved the number before has to prove it again."""
    await fetch(tx, "DELETE FROM registration WHERE account_id = $1", account_id)


async def delete_abandoned_pin(tx: BaseDBAsyncClient, account_id: UUID, now: datetime) -> None:
    """Remove the PIN of somebody who has not used the account for so long that it is somebody else's by now."""
    await fetch(tx, "DELETE FROM account_pin WHERE account_id = $1", account_id)
    await record_event(tx, AccountEvent(account_id, "pinRemoved", now))
