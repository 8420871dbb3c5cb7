"""PINs in the database.

Whatever changes a PIN locks its account first, as all that is account-sized does. Tries are counted without that: by one statement on the PIN's own row.
"""

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
from vyry.errors import InvalidToken
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice
from vyry.storage.raw_sql import fetch, to_datetime


#: A lock that is over counts as no misses. The NULLIF is a null with the type of a moment, which a bare parameter has not.
_COUNT_TRY: Final = (
    "UPDATE account_pin SET"
    " misses = 1 + CASE WHEN locked_until IS NULL THEN misses ELSE 0 END,"
    " locked_until = CASE WHEN 1 + CASE WHEN locked_until IS NULL THEN misses ELSE 0 END >= $2 THEN $3"
    " ELSE NULLIF(locked_until, locked_until) END"
    " WHERE account_id = $1 AND (locked_until IS NULL OR locked_until <= $4)"
    " RETURNING verifier, pepper_id, misses, locked_until"
)
#: The same at the registration lock, which has tries of its own.
_COUNT_TRY_AT_LOCK: Final = (
    "UPDATE account_pin SET"
    " lock_misses = 1 + CASE WHEN lock_locked_until IS NULL THEN lock_misses ELSE 0 END,"
    " lock_locked_until = CASE WHEN 1 + CASE WHEN lock_locked_until IS NULL THEN lock_misses ELSE 0 END >= $2 THEN $3"
    " ELSE NULLIF(lock_locked_until, lock_locked_until) END"
    " WHERE account_id = $1 AND (lock_locked_until IS NULL OR lock_locked_until <= $4)"
    " RETURNING verifier, pepper_id, lock_misses AS misses, lock_locked_until AS locked_until"
)
_RESET_TRIES: Final = (
    "UPDATE account_pin SET misses = 0, locked_until = NULL, verifier = $3, pepper_id = $4"
    " WHERE account_id = $1 AND verifier = $2 RETURNING account_id"
)
_RESET_TRIES_AT_LOCK: Final = (
    "UPDATE account_pin SET misses = 0, locked_until = NULL, lock_misses = 0, lock_locked_until = NULL, verifier = $3, pepper_id = $4"
    " WHERE account_id = $1 AND verifier = $2 RETURNING account_id"
)
_EVENT_NAMES: dict[PinChange, EventName] = {
    PinChange.SET: "pinSet",
    PinChange.CHANGED: "pinChanged",
    PinChange.REMOVED: "pinRemoved",
    PinChange.RESET: "pinReset",
}


class TortoisePins:
    """PinStore on PostgreSQL or SQLite."""

    async def load(self, account_id: UUID) -> PinRecord | None:
        find = (
            "SELECT verifier, pepper_id, registration_lock, misses, locked_until, lock_misses, lock_locked_until"
            " FROM account_pin WHERE account_id = $1"
        )
        async with database_guard():
            found = await fetch(connection(), find, account_id)
        if not found:
            return None
        row = found[0]
        devices, lock = (
            (row[misses], _optional_datetime(row[until]))
            for misses, until in (("misses", "locked_until"), ("lock_misses", "lock_locked_until"))
        )
        return PinRecord(_verifier(row), bool(row["registration_lock"]), *devices, *lock)

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
                _verifier(row), max(0, tries.limit - row["misses"]), _optional_datetime(row["locked_until"])
            )
        record = await self.load(account_id)
        if record is None:
            return None
        # Without a lock by now it was lifted between the two statements: the caller may ask again, in a second at the latest.
        return PinLockout((record.lock_locked_until if is_at_lock else record.locked_until) or now)

    async def restore_tries(
        self, account_id: UUID, proven: Verifier, renewed: Verifier, *, is_at_lock: bool = False
    ) -> bool:
        statement = _RESET_TRIES_AT_LOCK if is_at_lock else _RESET_TRIES
        async with database_guard():
            return bool(await fetch(connection(), statement, account_id, proven.text, renewed.text, renewed.pepper_id))

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
        replace = (
            "UPDATE account_pin SET verifier = $2, pepper_id = $3, registration_lock = COALESCE($4, registration_lock), misses = 0,"
            " locked_until = NULL, lock_misses = 0, lock_locked_until = NULL, changed_at = $5 WHERE account_id = $1 AND verifier = $6 RETURNING account_id"
        )
        async with transaction() as tx:
            await _lock_account(tx, new.guesser.account_id)
            is_replaced = await fetch(tx, replace, *_pin_columns(new), new.registration_lock, new.at, proven.text)
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
        remove = "DELETE FROM account_pin WHERE account_id = $1 AND verifier = $2 RETURNING account_id"
        async with transaction() as tx:
            await _lock_account(tx, by.account_id)
            is_removed = await fetch(tx, remove, by.account_id, proven.text)
            return bool(is_removed) and await _record_change(tx, PinChange.REMOVED, by, now)


async def _lock_account(tx: BaseDBAsyncClient, account_id: UUID) -> None:
    """A write that changes nothing. An account that was deleted meanwhile has no callers."""
    lock = "UPDATE account SET created_at = created_at WHERE id = $1 AND deleted_at IS NULL RETURNING id"
    if not await fetch(tx, lock, account_id):
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


def _optional_datetime(value: Any) -> datetime | None:
    return None if value is None else to_datetime(value)
