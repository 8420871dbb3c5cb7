"""The latest time that any node confirmed, one row that is written once a minute."""

from datetime import datetime
from typing import Final

from vyry.clock_monitor import ClockRecord
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch, to_datetime


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

    async def read(self) -> ClockRecord:
        async with database_guard():
            rows = await fetch(connection(), _READ)
            server = None
            if connection().capabilities.dialect != "sqlite":
                server = to_datetime((await fetch(connection(), _SERVER))[0]["now"])
        if not rows:
            return ClockRecord(None, server, None)
        claimed = rows[0]["claimed_at"]
        return ClockRecord(to_datetime(rows[0]["seen_at"]), server, None if claimed is None else to_datetime(claimed))

    async def record(self, moment: datetime) -> None:
        async with database_guard():
            await fetch(connection(), _NOTE, moment)

    async def replace_confirmed(self, seen_at: datetime, moment: datetime) -> bool:
        async with database_guard():
            return bool(await fetch(connection(), _SETTLE, seen_at, moment))

    async def record_claim(self, moment: datetime | None) -> None:
        async with database_guard():
            await fetch(connection(), _CLAIM, moment)

    async def force_confirmed(self, moment: datetime) -> None:
        async with database_guard():
            await fetch(connection(), _CONFIRM, moment)
