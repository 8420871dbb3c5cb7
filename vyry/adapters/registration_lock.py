"""The registration lock in the database."""

from datetime import datetime
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.events import AccountEvent
from vyry.accounts.lock import PendingToken, PinAtTheDoor, Waiting
from vyry.accounts.pin import Verifier
from vyry.adapters.account_events import note_event
from vyry.adapters.database import available, connection, transaction
from vyry.adapters.notices import Audience, Telling, enqueue
from vyry.adapters.rows import RegistrationRow
from vyry.adapters.statements import fetch, to_day, to_uuid


class TortoiseLocks:
    """LockStore on PostgreSQL or SQLite."""

    async def hold(self, account_id: UUID, pending: PendingToken, now: datetime) -> None:
        lock = "UPDATE account SET created_at = created_at WHERE id = $1 AND deleted_at IS NULL RETURNING id"
        async with transaction() as inside:
            if not await fetch(inside, lock, account_id):
                return
            _ = await RegistrationRow.create(
                inside, token_hash=pending.hash, account_id=account_id, expires_at=pending.expires_at
            )
            await note_event(inside, AccountEvent(account_id, "registrationLocked", now))
            await enqueue(inside, Telling(account_id, Audience.OWN, {"name": "registrationAttempted"}, now))

    async def waiting(self, token_hash: str, now: datetime) -> Waiting | None:
        find = "SELECT account_id FROM registration WHERE token_hash = $1 AND expires_at > $2"
        async with available():
            found = await fetch(connection(), find, token_hash, now)
            if not found:
                return None
            account_id = to_uuid(found[0]["account_id"])
            pin = await pin_at_the_door(connection(), account_id)
        return Waiting(account_id, pin is not None and pin.holds(now.date()))


async def pin_at_the_door(inside: BaseDBAsyncClient, account_id: UUID) -> PinAtTheDoor | None:
    """What a sign-up to this account has to look at first."""
    find = (
        "SELECT verifier, pepper_id, registration_lock, (SELECT MAX(last_seen_on) FROM device WHERE account_id = $1) AS last_seen_on"
        " FROM account_pin WHERE account_id = $1"
    )
    found = await fetch(inside, find, account_id)
    if not found:
        return None
    row = found[0]
    seen = None if row["last_seen_on"] is None else to_day(row["last_seen_on"])
    return PinAtTheDoor(Verifier(row["verifier"], row["pepper_id"]), bool(row["registration_lock"]), seen)


async def use_up(inside: BaseDBAsyncClient, token_hash: str, now: datetime) -> UUID | None:
    """Lock the account whose number waits with this token, and take the token, which is good once. None: it is not good."""
    lock = (
        "UPDATE account SET created_at = created_at WHERE deleted_at IS NULL"
        " AND id IN (SELECT account_id FROM registration WHERE token_hash = $1 AND expires_at > $2) RETURNING id"
    )
    take = "DELETE FROM registration WHERE token_hash = $1 RETURNING account_id"
    if not await fetch(inside, lock, token_hash, now):
        return None
    taken = await fetch(inside, take, token_hash)
    return to_uuid(taken[0]["account_id"]) if taken else None


async def close_door(inside: BaseDBAsyncClient, account_id: UUID) -> None:
    """Somebody signed up: whoever else proved the number before has to prove it again."""
    await fetch(inside, "DELETE FROM registration WHERE account_id = $1", account_id)


async def drop_left_pin(inside: BaseDBAsyncClient, account_id: UUID, now: datetime) -> None:
    """Remove the PIN of somebody who has not used the account for so long that it is somebody else's by now."""
    await fetch(inside, "DELETE FROM account_pin WHERE account_id = $1", account_id)
    await note_event(inside, AccountEvent(account_id, "pinRemoved", now))
