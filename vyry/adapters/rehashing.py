"""Numbers move to another pepper, a batch at a time, while nodes sign people up."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.acts import OperatorAct
from vyry.accounts.phone import Pepper
from vyry.adapters.database import available, connection, transaction
from vyry.adapters.operator_acts import note_act
from vyry.adapters.peppers import UsedPepper, use_pepper
from vyry.adapters.statements import fetch, to_uuid
from vyry.errors import Unavailable


_BATCH: Final = 500
_PAGE: Final = f"""
    SELECT id, phone_sealed, pepper_id FROM account
    WHERE id > $1 AND pepper_id <> $2 AND deleted_at IS NULL ORDER BY id LIMIT {_BATCH:d}"""
#: A sign-up may have moved the account meanwhile: then there is nothing to do.
_MOVE: Final = "UPDATE account SET phone_hash = $1, phone_sealed = $2, pepper_id = $3 WHERE id = $4 AND pepper_id = $5 RETURNING id"
_OLDER: Final = "SELECT count(*) AS n FROM account WHERE pepper_id <> $1 AND deleted_at IS NULL"
_FORGET: Final = """
    DELETE FROM pepper WHERE id = $1 AND EXISTS (SELECT 1 FROM pepper newer WHERE newer.id > $1 AND newer.used_from < $2) RETURNING id"""
_NEEDED: Final = {
    "accounts are under it: run `vyry rotate-pepper` to its end.": "SELECT count(*) AS n FROM account WHERE pepper_id = $1 AND deleted_at IS NULL",
    "PINs are under it: each moves when its owner gives it next.": "SELECT count(*) AS n FROM account_pin WHERE pepper_id = $1",
}


class StillNeeded(Exception):
    """A pepper cannot be forgotten; the text says why."""


@dataclass(frozen=True, slots=True)
class Rehashed:
    """How many numbers moved, and how many are under a pepper that is not known here."""

    moved: int
    unreadable: int


async def count_older(pepper_id: int) -> int:
    """How many accounts are under another pepper. Raises Unavailable."""
    async with available():
        return int((await fetch(connection(), _OLDER, pepper_id))[0]["n"])


async def begin(pepper: UsedPepper, act: OperatorAct) -> None:
    """Have every node use this pepper from its moment on. Raises Unavailable."""
    async with transaction() as inside:
        await use_pepper(inside, pepper)
        await note_act(inside, act)


async def rehash(pepper: Pepper, pepper_id: int, tell: Callable[[int, int], None]) -> Rehashed:
    """Hash and seal every number under this pepper, which is in use; `tell` hears how many of how many are done. Raises Unavailable.

    Begun again it goes on: what has moved is not looked at twice.
    """
    total, moved, unreadable, last = await count_older(pepper_id), 0, 0, UUID(int=0)
    while True:
        async with available():
            page = await fetch(connection(), _PAGE, last, pepper_id)
        if not page:
            return Rehashed(moved, unreadable)
        async with transaction() as inside:
            for row in page:
                is_moved = await _move(inside, pepper, row)
                moved += is_moved
                unreadable += not is_moved
        last = to_uuid(page[-1]["id"])
        tell(moved, total)


async def _move(inside: BaseDBAsyncClient, pepper: Pepper, row: dict[str, Any]) -> bool:
    try:
        number = pepper.hide(pepper.unseal(row["phone_sealed"]))
    except Unavailable:
        return False
    values = (number.hash, number.sealed, number.pepper_id, to_uuid(row["id"]), row["pepper_id"])
    await fetch(inside, _MOVE, *values)
    return True


async def retire(pepper_id: int, before: datetime, act: OperatorAct) -> None:
    """Have the installation forget a pepper whose successor came into use before that moment. Raises StillNeeded, Unavailable."""
    async with transaction() as inside:
        gone = await fetch(inside, _FORGET, pepper_id, before)
        for what, count in _NEEDED.items():
            if needed := (await fetch(inside, count, pepper_id))[0]["n"]:
                raise StillNeeded(f"{needed} {what}")
        if not gone:
            raise StillNeeded("it is in use, unknown, or its successor has been in use for less than an hour.")
        await note_act(inside, act)
