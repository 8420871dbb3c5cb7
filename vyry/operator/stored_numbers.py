"""Finds phone numbers that an older release stored in a form that is not canonical, and accounts that share a number because of it."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from vyry.accounts.events import OperatorAction
from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.errors import Unavailable
from vyry.kernel.phone_numbers import InvalidPhoneNumber, normalize_number
from vyry.operator.audit import record_action
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.raw_sql import fetch, to_uuid


_BATCH: Final = 2_000
_PAGE: Final = f"SELECT id, phone_sealed FROM account WHERE id > $1 AND deleted_at IS NULL AND length(phone_sealed) > 0 ORDER BY id LIMIT {_BATCH:d}"
_BY_HASHES: Final = "SELECT id FROM account WHERE phone_hash = ANY($1) AND deleted_at IS NULL"
#: A sign-up may have created the other account meanwhile: then no row matches, and the next scan finds a duplicate.
_STORE: Final = """
    UPDATE account SET phone_hash = $1, phone_sealed = $2, pepper_id = $3
    WHERE id = $4 AND deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM account other WHERE other.phone_hash = ANY($5)) RETURNING id"""


@dataclass(frozen=True, slots=True)
class NumberScan:
    """`duplicated`: groups of accounts with one number. `outdated`: accounts to correct, with the canonical number. `unreadable`: how many numbers cannot be decrypted or parsed."""

    duplicated: Sequence[tuple[UUID, ...]]
    outdated: Sequence[tuple[UUID, PhoneNumber]]
    unreadable: int


async def scan_numbers(pepper: Pepper) -> NumberScan:
    """Read every number and find those that are not canonical. Raises Unavailable.

    Two accounts never have the same canonical number (the hash is unique), so only the other numbers are looked up.
    """
    others: dict[str, list[UUID]] = defaultdict(list)
    unreadable = 0
    async for row in _accounts():
        try:
            stored = pepper.unseal(row["phone_sealed"]).e164
            canonical = normalize_number(stored)
        except (InvalidPhoneNumber, Unavailable):
            unreadable += 1
            continue
        if canonical != stored:
            others[canonical].append(to_uuid(row["id"]))
    doubled: list[tuple[UUID, ...]] = []
    outdated: list[tuple[UUID, PhoneNumber]] = []
    for canonical, accounts in others.items():
        number = PhoneNumber(canonical)
        sharing = [*await _accounts_with_number(pepper, number), *accounts]
        if len(sharing) > 1:
            doubled.append(tuple(sharing))
        else:
            outdated.append((accounts[0], number))
    return NumberScan(doubled, outdated, unreadable)


async def store_canonical_numbers(pepper: Pepper, found: NumberScan, act: OperatorAction) -> int:
    """Store the outdated numbers in canonical form, so that their owners can sign in again; returns how many. Raises Unavailable."""
    stored = 0
    async with transaction() as tx:
        await record_action(tx, act)
        for account_id, number in found.outdated:
            hidden = pepper.hide(number)
            values = (hidden.hash, hidden.sealed, hidden.pepper_id, account_id, sorted(hidden.hashes.values()))
            stored += len(await fetch(tx, _STORE, *values))
    return stored


async def _accounts() -> AsyncIterator[dict[str, Any]]:
    last = UUID(int=0)
    while True:
        async with database_guard():
            page = await fetch(connection(), _PAGE, last)
        for row in page:
            yield row
        if len(page) < _BATCH:
            return
        last = to_uuid(page[-1]["id"])


async def _accounts_with_number(pepper: Pepper, number: PhoneNumber) -> list[UUID]:
    async with database_guard():
        found = await fetch(connection(), _BY_HASHES, list(pepper.hide(number).hashes.values()))
    return [to_uuid(row["id"]) for row in found]
