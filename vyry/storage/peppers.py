"""The peppers that this installation uses, as the database names them: by id and keyed fingerprint, never themselves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.phone import HiddenNumber
from vyry.errors import Unavailable
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch, to_datetime


_USE: Final = (
    "INSERT INTO pepper (id, fingerprint, used_from) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING RETURNING id"
)


@dataclass(frozen=True, slots=True)
class PepperEntry:
    """A pepper in the database; of those whose time has come the one with the highest id is in use."""

    pepper_id: int
    fingerprint: str
    used_from: datetime


async def list_peppers() -> list[PepperEntry]:
    """All of them, oldest first. Raises Unavailable."""
    async with database_guard():
        found = await fetch(connection(), "SELECT id, fingerprint, used_from FROM pepper ORDER BY id")
    return [PepperEntry(row["id"], row["fingerprint"], to_datetime(row["used_from"])) for row in found]


async def add_pepper(tx: BaseDBAsyncClient, pepper: PepperEntry) -> bool:
    """Have every node use this one from its moment on. False if there is one under its id already."""
    return bool(await fetch(tx, _USE, pepper.pepper_id, pepper.fingerprint, pepper.used_from))


async def add_first_pepper(pepper: PepperEntry) -> None:
    """Note what an installation begins with, unless somebody did."""
    async with database_guard():
        await add_pepper(connection(), pepper)


async def check_known_peppers(tx: BaseDBAsyncClient, known: Collection[int], now: datetime) -> None:
    """A node that lacks a pepper of the installation would make a second account for a number. Raises Unavailable."""
    if await fetch(tx, "SELECT id FROM pepper WHERE used_from <= $1 AND NOT (id = ANY($2))", now, sorted(known)):
        raise Unavailable("This node lacks a pepper that the installation uses.")


async def lock_account_by_number(tx: BaseDBAsyncClient, number: HiddenNumber) -> list[dict[str, Any]]:
    """Lock the account of this number, under whichever pepper it is known. Nothing changes."""
    hashes = sorted(number.hashes.values())
    if tx.capabilities.dialect == "postgres":
        # Nodes change over to a new pepper one after the other: two that sign the same number up at once share a hash, and so take turns.
        turn = "SELECT pg_advisory_xact_lock(hashtextextended(hash, 0)) FROM unnest($1::text[]) hash"
        await fetch(tx, turn, hashes)
    lock = (
        "UPDATE account SET created_at = created_at WHERE phone_hash = ANY($1) RETURNING id, display_name, suspended_at"
    )
    return await fetch(tx, lock, hashes)


async def store_number(tx: BaseDBAsyncClient, account_id: UUID, number: HiddenNumber) -> None:
    """Keep the number of this account under the pepper in use from now on."""
    move = "UPDATE account SET phone_hash = $1, phone_sealed = $2, pepper_id = $3 WHERE id = $4"
    await fetch(tx, move, number.hash, number.sealed, number.pepper_id, account_id)


async def create_account(
    tx: BaseDBAsyncClient, fresh: UUID, number: HiddenNumber, now: datetime
) -> list[dict[str, Any]]:
    """A new account for this number. Nodes of an older release take no turns: of two that insert, the later one finds the account."""
    insert = (
        "INSERT INTO account (id, phone_hash, phone_sealed, pepper_id, settings, device_list_epoch, last_device_id, created_at)"
        " VALUES ($1, $2, $3, $4, $5, 1, 0, $6) ON CONFLICT (phone_hash) DO UPDATE"
        " SET created_at = account.created_at RETURNING id, display_name, suspended_at"
    )
    return await fetch(tx, insert, fresh, number.hash, number.sealed, number.pepper_id, "{}", now)


def current_pepper_id(fingerprints: Mapping[int, str], entries: Sequence[PepperEntry], now: datetime) -> int | None:
    """The pepper to use by what the database says, for a node whose ring has these fingerprints by id; one that it lacks if it lacks any.

    None: the database names none.
    """
    begun = [each for each in entries if each.used_from <= now]
    strange = [each.pepper_id for each in begun if fingerprints.get(each.pepper_id) != each.fingerprint]
    return next(iter(strange), None) or max((each.pepper_id for each in begun), default=None)
