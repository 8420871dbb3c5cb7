"""Row locks that work on PostgreSQL and on SQLite.

A transaction that changes account-sized tables begins with a lock, and takes further locks in one order: accounts by rising id, devices, mailboxes, then
the rows that belong to them. A lock is an UPDATE that sets a column to its own value: on PostgreSQL it locks the row, and on SQLite, which knows no row
locks, it makes the transaction the only writer.
"""

from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.kernel.ids import UserId
from vyry.storage.raw_sql import fetch, to_uuid


_ACCOUNT: Final = """
    UPDATE account SET created_at = created_at WHERE id = $1 AND deleted_at IS NULL RETURNING phone_hash, phone_sealed, username"""
_ACCOUNTS: Final = """
    UPDATE account SET created_at = created_at WHERE id IN (
        SELECT id FROM account WHERE id = ANY($1) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE) RETURNING id"""
_DEVICE: Final = "UPDATE device SET ended_at = ended_at WHERE id = $1"


async def lock_account(tx: BaseDBAsyncClient, account_id: UUID) -> dict[str, Any] | None:
    """Lock an account; returns its number (phone_hash, phone_sealed) and username, None if it is deleted."""
    return next(iter(await fetch(tx, _ACCOUNT, account_id)), None)


async def lock_accounts(tx: BaseDBAsyncClient, *users: UserId) -> set[UserId]:
    """Lock several accounts; returns those that exist."""
    return {UserId(to_uuid(row["id"])) for row in await fetch(tx, _ACCOUNTS, list(users))}


async def lock_device(tx: BaseDBAsyncClient, device: UUID) -> None:
    """Lock a device: it does not end before this transaction is over."""
    await fetch(tx, _DEVICE, device)
