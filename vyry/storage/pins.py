"""PINs and the registration lock.

A change of a PIN locks the account first. Counting a try does not: it is one statement on the row of the PIN.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.events import AccountEvent, EventName
from vyry.accounts.pin import (
    CountedTry,
    Guesser,
    NewPin,
    PinChange,
    PinLockout,
    PinRecord,
    PinTryLimit,
    Verifier,
    WrongTry,
)
from vyry.accounts.registration_lock import RegistrationLock, StoredUnlockToken, UnlockTarget
from vyry.errors import InvalidToken
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.locks import lock_account
from vyry.storage.models import AccountPinRow, UnlockTokenRow
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice
from vyry.storage.raw_sql import fetch, to_date, to_optional_datetime, to_uuid


#: After a lock has ended wrong tries count from 0. The NULLIF is a null with the type timestamp, which a parameter does not have.
_COUNT_TRY: Final = (
    "UPDATE account_pin SET"
    " misses = 1 + CASE WHEN locked_until IS NULL THEN misses ELSE 0 END,"
    " locked_until = CASE WHEN 1 + CASE WHEN locked_until IS NULL THEN misses ELSE 0 END >= $2 THEN $3"
    " ELSE NULLIF(locked_until, locked_until) END"
    " WHERE account_id = $1 AND (locked_until IS NULL OR locked_until <= $4)"
    " RETURNING verifier, pepper_id, misses, locked_until"
)
#: The same for the registration lock, whose tries are counted apart.
_COUNT_TRY_AT_LOCK: Final = (
    "UPDATE account_pin SET"
    " lock_misses = 1 + CASE WHEN lock_locked_until IS NULL THEN lock_misses ELSE 0 END,"
    " lock_locked_until = CASE WHEN 1 + CASE WHEN lock_locked_until IS NULL THEN lock_misses ELSE 0 END >= $2 THEN $3"
    " ELSE NULLIF(lock_locked_until, lock_locked_until) END"
    " WHERE account_id = $1 AND (lock_locked_until IS NULL OR lock_locked_until <= $4)"
    " RETURNING verifier, pepper_id, lock_misses AS misses, lock_locked_until AS locked_until"
)
#: What a correct PIN resets: at a device the tries of devices, at the registration lock both.
_RESET: Final = {"misses": 0, "locked_until": None}
_RESET_BOTH: Final = {**_RESET, "lock_misses": 0, "lock_locked_until": None}
_EVENT_NAMES: dict[PinChange, EventName] = {
    PinChange.SET: "pinSet",
    PinChange.CHANGED: "pinChanged",
    PinChange.REMOVED: "pinRemoved",
    PinChange.RESET: "pinReset",
}


class TortoisePins:
    """PinStore on PostgreSQL or SQLite."""

    async def load(self, account_id: UUID) -> PinRecord | None:
        async with database_guard():
            row = await AccountPinRow.get_or_none(account_id=account_id)
        if row is None:
            return None
        return PinRecord(
            Verifier(row.verifier, row.pepper_id),
            row.registration_lock,
            row.misses,
            row.locked_until,
            row.lock_misses,
            row.lock_locked_until,
        )

    async def count_try(
        self,
        account_id: UUID,
        tries: PinTryLimit,
        now: datetime,
        *,
        is_at_lock: bool = False,
        locked_from: datetime | None = None,
    ) -> CountedTry | PinLockout | None:
        statement = _COUNT_TRY_AT_LOCK if is_at_lock else _COUNT_TRY
        end = (locked_from or now) + tries.lock
        async with database_guard():
            taken = await fetch(connection(), statement, account_id, tries.limit, end, now)
        if taken:
            row = taken[0]
            return CountedTry(
                _verifier(row), max(0, tries.limit - row["misses"]), to_optional_datetime(row["locked_until"])
            )
        record = await self.load(account_id)
        if record is None:
            return None
        # The lock may have ended between the two statements: the caller may retry at once.
        return PinLockout((record.lock_locked_until if is_at_lock else record.locked_until) or now)

    async def restore_tries(
        self, account_id: UUID, proven: Verifier, renewed: Verifier, *, is_at_lock: bool = False
    ) -> bool:
        changes = {**(_RESET_BOTH if is_at_lock else _RESET), "verifier": renewed.text, "pepper_id": renewed.pepper_id}
        async with database_guard():
            return bool(await AccountPinRow.filter(account_id=account_id, verifier=proven.text).update(**changes))

    async def record_wrong_try(self, miss: WrongTry) -> None:
        by, left = miss.guesser, miss.counted_try.tries_left
        async with transaction() as tx:
            await _lock_account(tx, by.account_id)
            await record_event(tx, AccountEvent(by.account_id, "pinWrong", miss.at, by.device_id, {"left": left}))
            if left == 0:
                await record_event(tx, AccountEvent(by.account_id, "pinLocked", miss.at, by.device_id))
            body = {"name": "pinFailed", "attemptsRemaining": left}
            await enqueue_notice(tx, NewNotice(by.account_id, Audience.OWN, body, miss.at, by.mailbox))

    async def add(self, new: NewPin) -> bool:
        add = (
            "INSERT INTO account_pin (account_id, verifier, pepper_id, registration_lock, misses, changed_at)"
            " VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (account_id) DO NOTHING RETURNING account_id"
        )
        async with transaction() as tx:
            await _lock_account(tx, new.guesser.account_id)
            is_added = await fetch(tx, add, *_pin_columns(new), bool(new.registration_lock), new.at)
            return bool(is_added) and await _record_change(tx, PinChange.SET, new.guesser, new.at)

    async def replace(self, new: NewPin, proven: Verifier) -> bool:
        changes = {
            **_RESET_BOTH,
            "verifier": new.verifier.text,
            "pepper_id": new.verifier.pepper_id,
            "changed_at": new.at,
        }
        if new.registration_lock is not None:
            changes["registration_lock"] = new.registration_lock
        async with transaction() as tx:
            await _lock_account(tx, new.guesser.account_id)
            proven_pin = AccountPinRow.filter(account_id=new.guesser.account_id, verifier=proven.text).using_db(tx)
            is_replaced = await proven_pin.update(**changes)
            return bool(is_replaced) and await _record_change(tx, PinChange.CHANGED, new.guesser, new.at)

    async def reset(self, new: NewPin) -> None:
        put = (
            "INSERT INTO account_pin (account_id, verifier, pepper_id, registration_lock, misses, changed_at)"
            " VALUES ($1, $2, $3, FALSE, 0, $4) ON CONFLICT (account_id) DO UPDATE SET verifier = excluded.verifier,"
            " pepper_id = excluded.pepper_id, misses = 0, locked_until = NULL, lock_misses = 0, lock_locked_until = NULL, changed_at = excluded.changed_at"
        )
        async with transaction() as tx:
            await _lock_account(tx, new.guesser.account_id)
            await fetch(tx, put, *_pin_columns(new), new.at)
            await _record_change(tx, PinChange.RESET, new.guesser, new.at)

    async def remove(self, by: Guesser, proven: Verifier, now: datetime) -> bool:
        async with transaction() as tx:
            await _lock_account(tx, by.account_id)
            is_removed = (
                await AccountPinRow.filter(account_id=by.account_id, verifier=proven.text).using_db(tx).delete()
            )
            return bool(is_removed) and await _record_change(tx, PinChange.REMOVED, by, now)


async def _lock_account(tx: BaseDBAsyncClient, account_id: UUID) -> None:
    if await lock_account(tx, account_id) is None:
        raise InvalidToken


async def _record_change(tx: BaseDBAsyncClient, change: PinChange, by: Guesser, now: datetime) -> bool:
    await record_event(tx, AccountEvent(by.account_id, _EVENT_NAMES[change], now, by.device_id))
    body = {"name": "pinChanged", "change": change.value}
    await enqueue_notice(tx, NewNotice(by.account_id, Audience.OWN, body, now, by.mailbox))
    return True


def _pin_columns(new: NewPin) -> tuple[UUID, str, int]:
    return new.guesser.account_id, new.verifier.text, new.verifier.pepper_id


def _verifier(row: dict[str, Any]) -> Verifier:
    return Verifier(row["verifier"], row["pepper_id"])


class TortoiseUnlockTokens:
    """UnlockTokenStore on PostgreSQL or SQLite."""

    async def save_token(self, account_id: UUID, pending: StoredUnlockToken, now: datetime) -> None:
        async with transaction() as tx:
            if await lock_account(tx, account_id) is None:
                return
            _ = await UnlockTokenRow.create(
                tx,
                token_hash=pending.hash,
                account_id=account_id,
                expires_at=pending.expires_at,
                recovery_hash=pending.recovery_hash,
            )
            await record_event(tx, AccountEvent(account_id, "registrationLocked", now))
            await enqueue_notice(tx, NewNotice(account_id, Audience.OWN, {"name": "registrationAttempted"}, now))

    async def find_pending(self, token_hash: str, now: datetime) -> UnlockTarget | None:
        find = "SELECT account_id, recovery_hash FROM registration WHERE token_hash = $1 AND expires_at > $2"
        async with database_guard():
            found = await fetch(connection(), find, token_hash, now)
            if not found:
                return None
            account_id = to_uuid(found[0]["account_id"])
            pin = await load_registration_lock(connection(), account_id)
        return UnlockTarget(account_id, pin is not None and pin.requires_pin(now.date()), found[0]["recovery_hash"])


async def load_registration_lock(tx: BaseDBAsyncClient, account_id: UUID) -> RegistrationLock | None:
    """The PIN and registration lock that a sign-up to this account must check; None without a PIN."""
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


@dataclass(frozen=True, slots=True)
class UsedToken:
    """The account of a used token, and the hash of the recovery code that passed before (None: a one-time code did)."""

    account_id: UUID
    recovery_hash: str | None


async def consume_registration_token(tx: BaseDBAsyncClient, token_hash: str, now: datetime) -> UsedToken | None:
    """Use up the token, and lock its account; None for an invalid token."""
    lock = (
        "UPDATE account SET created_at = created_at WHERE deleted_at IS NULL"
        " AND id IN (SELECT account_id FROM registration WHERE token_hash = $1 AND expires_at > $2) RETURNING id"
    )
    take = "DELETE FROM registration WHERE token_hash = $1 RETURNING account_id, recovery_hash"
    if not await fetch(tx, lock, token_hash, now):
        return None
    taken = await fetch(tx, take, token_hash)
    return UsedToken(to_uuid(taken[0]["account_id"]), taken[0]["recovery_hash"]) if taken else None


async def delete_registrations(tx: BaseDBAsyncClient, account_id: UUID) -> None:
    """After a sign-up: earlier verifications of the number are void."""
    await UnlockTokenRow.filter(account_id=account_id).using_db(tx).delete()


async def delete_abandoned_pin(tx: BaseDBAsyncClient, account_id: UUID, now: datetime) -> None:
    """Remove the PIN of an account that was not used for so long that the number may have a new owner."""
    await AccountPinRow.filter(account_id=account_id).using_db(tx).delete()
    await record_event(tx, AccountEvent(account_id, "pinRemoved", now))
