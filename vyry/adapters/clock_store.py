"""The latest moment that any node confirmed, in the database: one row, written once a minute."""

from datetime import datetime
from typing import Final

from vyry.adapters.database import available, connection
from vyry.adapters.statements import fetch, to_moment
from vyry.clock_watch import Reading


_READ: Final = "SELECT seen_at, claimed_at FROM clock WHERE id = 1"
_SERVER: Final = "SELECT clock_timestamp() AS now"
_NOTE: Final = """
INSERT INTO clock (id, seen_at) VALUES (1, $1)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at WHERE clock.seen_at < excluded.seen_at RETURNING id"""
_SETTLE: Final = "UPDATE clock SET seen_at = $2, claimed_at = NULL WHERE id = 1 AND seen_at = $1 RETURNING id"
_CLAIM: Final = "UPDATE clock SET claimed_at = $1 WHERE id = 1 RETURNING id"
_CONFIRM: Final = """
INSERT INTO clock (id, seen_at) VALUES (1, $1)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, claimed_at = NULL RETURNING id"""


class TortoiseClock:
    """ClockStore on PostgreSQL or SQLite."""

    async def read(self) -> Reading:
        async with available():
            rows = await fetch(connection(), _READ)
            server = None
            if connection().capabilities.dialect != "sqlite":
                server = to_moment((await fetch(connection(), _SERVER))[0]["now"])
        if not rows:
            return Reading(None, server, None)
        claimed = rows[0]["claimed_at"]
        return Reading(to_moment(rows[0]["seen_at"]), server, None if claimed is None else to_moment(claimed))

    async def note(self, moment: datetime) -> None:
        async with available():
            await fetch(connection(), _NOTE, moment)

    async def settle(self, seen_at: datetime, moment: datetime) -> bool:
        async with available():
            return bool(await fetch(connection(), _SETTLE, seen_at, moment))

    async def claim(self, moment: datetime | None) -> None:
        async with available():
            await fetch(connection(), _CLAIM, moment)

    async def confirm(self, moment: datetime) -> None:
        async with available():
            await fetch(connection(), _CONFIRM, moment)
