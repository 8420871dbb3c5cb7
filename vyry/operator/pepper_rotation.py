"""Rehashes phone numbers with another pepper, a batch at a time, while the nodes run."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.events import OperatorAction
from vyry.accounts.phone import Pepper
from vyry.errors import Unavailable
from vyry.operator.audit import record_action
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.peppers import PepperEntry, add_pepper
from vyry.storage.raw_sql import fetch, to_uuid


_BATCH: Final = 500
_PAGE: Final = f"""
    SELECT id, phone_sealed, pepper_id FROM account
    WHERE id > $1 AND pepper_id <> $2 AND deleted_at IS NULL AND length(phone_sealed) > 0 ORDER BY id LIMIT {_BATCH:d}"""
#: A sign-up may have rehashed the number meanwhile: then no row matches.
_MOVE: Final = "UPDATE account SET phone_hash = $1, phone_sealed = $2, pepper_id = $3 WHERE id = $4 AND pepper_id = $5 RETURNING id"
#: Accounts without a number use no pepper.
_OLDER: Final = (
    "SELECT count(*) AS n FROM account WHERE pepper_id <> $1 AND deleted_at IS NULL AND length(phone_sealed) > 0"
)
_FORGET: Final = """
    DELETE FROM pepper WHERE id = $1 AND EXISTS (SELECT 1 FROM pepper newer WHERE newer.id > $1 AND newer.used_from < $2) RETURNING id"""
_IN_USE_CHECKS: Final = {
    "accounts still use it: run `vyry rotate-pepper` to completion.": "SELECT count(*) AS n FROM account WHERE pepper_id = $1 AND deleted_at IS NULL AND length(phone_sealed) > 0",
    "PINs still use it: each is hashed with the new pepper when its owner enters it next.": "SELECT count(*) AS n FROM account_pin WHERE pepper_id = $1",
    "invitations to sign up still use it: revoke them (`vyry invite list`, `vyry invite revoke ID`), or wait until they have expired.": (
        "SELECT count(*) AS n FROM signup_invitation WHERE pepper_id = $1 AND revoked_at IS NULL AND uses < max_uses AND expires_at > $2"
    ),
}


class PepperInUse(Exception):
    """The pepper cannot be retired; the text says why."""


@dataclass(frozen=True, slots=True)
class RehashResult:
    """How many numbers were rehashed, and how many could not be read because this node lacks their pepper."""

    moved: int
    unreadable: int


async def count_on_older_peppers(pepper_id: int) -> int:
    """How many accounts use another pepper. Raises Unavailable."""
    async with database_guard():
        return int((await fetch(connection(), _OLDER, pepper_id))[0]["n"])


async def activate_pepper(pepper: PepperEntry, act: OperatorAction) -> None:
    """Make every node use this pepper from `used_from` on. Raises Unavailable."""
    async with transaction() as tx:
        await add_pepper(tx, pepper)
        await record_action(tx, act)


async def rehash_numbers(pepper: Pepper, pepper_id: int, report_progress: Callable[[int, int], None]) -> RehashResult:
    """Hash and encrypt every number with this pepper, which is in use. Raises Unavailable.

    `report_progress` gets the numbers done and the total. A second run continues where the first one stopped.
    """
    total, moved, unreadable, last = await count_on_older_peppers(pepper_id), 0, 0, UUID(int=0)
    while True:
        async with database_guard():
            page = await fetch(connection(), _PAGE, last, pepper_id)
        if not page:
            return RehashResult(moved, unreadable)
        async with transaction() as tx:
            for row in page:
                is_moved = await _rehash_account(tx, pepper, row)
                moved += is_moved
                unreadable += not is_moved
        last = to_uuid(page[-1]["id"])
        report_progress(moved, total)


async def _rehash_account(tx: BaseDBAsyncClient, pepper: Pepper, row: dict[str, Any]) -> bool:
    try:
        number = pepper.hide(pepper.unseal(row["phone_sealed"]))
    except Unavailable:
        return False
    values = (number.hash, number.sealed, number.pepper_id, to_uuid(row["id"]), row["pepper_id"])
    await fetch(tx, _MOVE, *values)
    return True


async def retire_pepper(pepper_id: int, before: datetime, act: OperatorAction) -> None:
    """Delete a pepper whose successor came into use before then. Raises PepperInUse, Unavailable."""
    async with transaction() as tx:
        gone = await fetch(tx, _FORGET, pepper_id, before)
        for what, count in _IN_USE_CHECKS.items():
            values = (pepper_id, act.at) if "$2" in count else (pepper_id,)
            if needed := (await fetch(tx, count, *values))[0]["n"]:
                raise PepperInUse(f"{needed} {what}")
        if not gone:
            raise PepperInUse("it is in use, it is unknown, or its successor has been in use for less than an hour.")
        await record_action(tx, act)
