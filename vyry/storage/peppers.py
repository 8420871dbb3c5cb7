"""The registry of peppers (id, keyed fingerprint, start; never the pepper itself), and phone numbers hashed with them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.phone import HiddenNumber
from vyry.errors import Unavailable
from vyry.storage.database import connection, database_guard
from vyry.storage.models import PepperRow
from vyry.storage.raw_sql import fetch


_USE: Final = (
    "INSERT INTO pepper (id, fingerprint, used_from) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING RETURNING id"
)


@dataclass(frozen=True, slots=True)
class PepperEntry:
    """A pepper of the installation; the one with the highest id that has started is in use."""

    pepper_id: int
    fingerprint: str
    used_from: datetime


async def list_peppers() -> list[PepperEntry]:
    """All peppers by rising id. Raises Unavailable."""
    async with database_guard():
        rows = await PepperRow.all().order_by("id")
    return [PepperEntry(row.id, row.fingerprint, row.used_from) for row in rows]


async def add_pepper(tx: BaseDBAsyncClient, pepper: PepperEntry) -> bool:
    """Make every node use this pepper from `used_from` on. Returns False if the id exists."""
    return bool(await fetch(tx, _USE, pepper.pepper_id, pepper.fingerprint, pepper.used_from))


async def add_first_pepper(pepper: PepperEntry) -> None:
    """Store the first pepper of an installation, unless another node has."""
    async with database_guard():
        await add_pepper(connection(), pepper)


async def check_known_peppers(tx: BaseDBAsyncClient, known: Collection[int], now: datetime) -> None:
    """Raises Unavailable if this node lacks a pepper in use: it would create a second account for a number."""
    if await fetch(tx, "SELECT id FROM pepper WHERE used_from <= $1 AND NOT (id = ANY($2))", now, sorted(known)):
        raise Unavailable("This node lacks a pepper that the installation uses.")


async def lock_account_by_number(tx: BaseDBAsyncClient, number: HiddenNumber) -> list[dict[str, Any]]:
    """Lock the account of this number, whichever pepper its hash uses."""
    hashes = sorted(number.hashes.values())
    if tx.capabilities.dialect == "postgres":
        # During a rotation nodes may use different peppers. Two concurrent sign-ups of a number have a hash in common, and lock it.
        turn = "SELECT pg_advisory_xact_lock(hashtextextended(hash, 0)) FROM unnest($1::text[]) hash"
        await fetch(tx, turn, hashes)
    lock = (
        "UPDATE account SET created_at = created_at WHERE phone_hash = ANY($1) RETURNING id, display_name, suspended_at"
    )
    return await fetch(tx, lock, hashes)


async def store_number(tx: BaseDBAsyncClient, account_id: UUID, number: HiddenNumber) -> None:
    """Store the number of this account under the pepper in use."""
    move = "UPDATE account SET phone_hash = $1, phone_sealed = $2, pepper_id = $3 WHERE id = $4"
    await fetch(tx, move, number.hash, number.sealed, number.pepper_id, account_id)


async def create_account(
    tx: BaseDBAsyncClient, fresh: UUID, number: HiddenNumber, now: datetime
) -> list[dict[str, Any]]:
    """Create an account for this number; if another transaction has just created it, lock and return that one."""
    insert = (
        "INSERT INTO account (id, phone_hash, phone_sealed, pepper_id, settings, device_list_epoch, last_device_id, created_at)"
        " VALUES ($1, $2, $3, $4, $5, 1, 0, $6) ON CONFLICT (phone_hash) DO UPDATE"
        " SET created_at = account.created_at RETURNING id, display_name, suspended_at"
    )
    return await fetch(tx, insert, fresh, number.hash, number.sealed, number.pepper_id, "{}", now)


def current_pepper_id(fingerprints: Mapping[int, str], entries: Sequence[PepperEntry], now: datetime) -> int | None:
    """The pepper in use, for a node that has peppers with these fingerprints by id; if it lacks any, the id of a missing one.

    Returns None if the database has no pepper.
    """
    begun = [each for each in entries if each.used_from <= now]
    strange = [each.pepper_id for each in begun if fingerprints.get(each.pepper_id) != each.fingerprint]
    return next(iter(strange), None) or max((each.pepper_id for each in begun), default=None)
