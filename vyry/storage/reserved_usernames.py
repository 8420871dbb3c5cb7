"""Usernames that rest, in PostgreSQL or SQLite.

A name is given up and comes to rest in one transaction. Whoever takes a name writes it into the account first: the unique column makes them wait for
whoever gives it up at that moment, and only then they look whether it rests, with a statement that sees what was committed meanwhile.
"""

from datetime import date
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.usernames import UsernameRules, name_hash
from vyry.errors import UsernameTaken
from vyry.kernel.ids import UserId
from vyry.storage.raw_sql import fetch, to_date


#: A row whose day has come is as good as none: the sweeper may not have been there yet.
_RESERVE: Final = """
    INSERT INTO resting_name (hash, account_id, free_on) VALUES ($1, $2, $3)
    ON CONFLICT (hash) DO UPDATE SET account_id = excluded.account_id, free_on = excluded.free_on"""
_IS_RESERVED: Final = """
    SELECT 1 FROM resting_name WHERE hash = $1 AND free_on > $2 AND (account_id IS NULL OR account_id <> $3)"""
_RELEASE: Final = "DELETE FROM resting_name WHERE hash = $1"
_OWN: Final = "SELECT free_on FROM resting_name WHERE account_id = $1 AND free_on > $2 ORDER BY free_on"


async def apply_rename(
    tx: BaseDBAsyncClient, user_id: UserId, names: tuple[str | None, str | None], rules: UsernameRules
) -> None:
    """The account, whose row is locked, had the first of these names and has just been given the second. Raises UsernameTaken, RateLimited."""
    former, present = names
    if former == present:
        return
    if present is not None:
        if await fetch(tx, _IS_RESERVED, name_hash(present), rules.today, user_id):
            raise UsernameTaken
        await fetch(tx, _RELEASE, name_hash(present))
    if former is not None:
        rules.check_reserved(await list_release_dates(tx, user_id, rules.today))
        await reserve_username(tx, former, user_id, rules.released_on)


async def reserve_username(tx: BaseDBAsyncClient, username: str, account_id: UUID | None, free_on: date) -> None:
    """Let this name rest, for this account to take back; of nobody, when the account is deleted."""
    await fetch(tx, _RESERVE, name_hash(username), account_id, free_on)


async def list_release_dates(tx: BaseDBAsyncClient, user_id: UserId, today: date) -> list[date]:
    """When the names that this account gave up are free, those that are free already left out."""
    return [to_date(row["free_on"]) for row in await fetch(tx, _OWN, user_id, today)]
