"""Recovery codes, and the tries that count against them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import Caller
from vyry.accounts.events import AccountEvent
from vyry.accounts.recovery import CodeExchange, TriesLeft, TriesUsedUp, TryLimit
from vyry.errors import InvalidToken
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.locks import lock_account
from vyry.storage.raw_sql import fetch, to_datetime


#: One statement counts a try, unless none is left. Tries count until none has counted for the length of the window.
_COUNT: Final = """
    INSERT INTO recovery_try (subject, tries, ends_at) VALUES ($1, 1, $2)
    ON CONFLICT (subject) DO UPDATE SET ends_at = excluded.ends_at,
        tries = 1 + CASE WHEN recovery_try.ends_at > $3 THEN recovery_try.tries ELSE 0 END
    WHERE recovery_try.ends_at <= $3 OR recovery_try.tries < $4 RETURNING tries"""
_ENDS: Final = "SELECT ends_at FROM recovery_try WHERE subject = $1"
_EXCHANGE: Final = "UPDATE recovery_code SET code_hash = $1, created_at = $2 WHERE account_id = $3 AND code_hash = $4 RETURNING account_id"
_SAVE: Final = """
    INSERT INTO recovery_code (account_id, code_hash, created_at) VALUES ($1, $2, $3)
    ON CONFLICT (account_id) DO UPDATE SET code_hash = excluded.code_hash, created_at = excluded.created_at RETURNING account_id"""
_HAS: Final = "SELECT 1 FROM recovery_code WHERE account_id = $1 AND code_hash = $2"


class _NoTryLeft(Exception):
    """No try is left: the transaction counts nothing."""

    def __init__(self, used_up: TriesUsedUp) -> None:
        super().__init__()
        self.used_up = used_up


class TortoiseRecoveryCodes:
    """The part of RecoveryStore that signs no one up; vyry/storage/recovery.py has the rest."""

    async def count_try(self, limits: Sequence[TryLimit], now: datetime) -> TriesLeft | TriesUsedUp:
        left = 0
        try:
            async with transaction() as tx:
                for limit in limits:
                    left = await _count(tx, limit, now)
        except _NoTryLeft as none:
            return none.used_up
        return TriesLeft(left)

    async def restore_tries(self, limits: Sequence[TryLimit]) -> None:
        *shared, own = limits
        async with transaction() as tx:
            for limit in shared:
                await fetch(tx, "UPDATE recovery_try SET tries = tries - 1 WHERE subject = $1", limit.subject)
            await fetch(tx, "DELETE FROM recovery_try WHERE subject = $1", own.subject)

    async def save_code(self, caller: Caller, code_hash: str, now: datetime) -> None:
        async with transaction() as tx:
            if await lock_account(tx, caller.user_id) is None:
                raise InvalidToken
            await save_recovery_code(tx, caller.user_id, code_hash, now)
            await record_event(tx, AccountEvent(caller.user_id, "recoveryCodeChanged", now, caller.device_id))

    async def has_code(self, user_id: UUID, code_hash: str) -> bool:
        async with database_guard():
            return bool(await fetch(connection(), _HAS, user_id, code_hash))


async def _count(tx: BaseDBAsyncClient, limit: TryLimit, now: datetime) -> int:
    ends_at = now + timedelta(seconds=limit.window.seconds)
    counted = await fetch(tx, _COUNT, limit.subject, ends_at, now, limit.window.limit)
    if not counted:
        (row,) = await fetch(tx, _ENDS, limit.subject)
        raise _NoTryLeft(TriesUsedUp(limit, to_datetime(row["ends_at"])))
    return limit.window.limit - int(counted[0]["tries"])


async def save_recovery_code(tx: BaseDBAsyncClient, user_id: UUID, code_hash: str, now: datetime) -> None:
    """Set the recovery code of a locked or new account."""
    await fetch(tx, _SAVE, user_id, code_hash, now)


async def exchange_recovery_code(tx: BaseDBAsyncClient, user_id: UUID, codes: CodeExchange, now: datetime) -> bool:
    """Use up the given code and set the fresh one, by one statement. False: the given one is not the code of the account."""
    return bool(await fetch(tx, _EXCHANGE, codes.fresh, now, user_id, codes.given))
