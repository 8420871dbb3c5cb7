"""Finds processes of Vyry that use a database, for the commands that must not run beside them: restore and rollback."""

import asyncio
from pathlib import Path
from typing import Final

import asyncpg

from vyry.errors import OperationRefused
from vyry.operator.sqlite_file import refuse_open_sqlite
from vyry.storage.database import database_guard, is_postgres, sqlite_path


_CONNECT_SECONDS: Final = 4.0
#: Every connection of a node names itself `vyry` or `vyry-...`. A node opens one at least every minute, and keeps it for five.
_SESSIONS: Final = """
    SELECT count(*) AS connections, count(DISTINCT client_addr) AS hosts, max(host(client_addr)) AS address FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND (application_name = 'vyry' OR application_name LIKE 'vyry-%')"""


async def refuse_while_nodes_live(url: str) -> None:
    """Raises OperationRefused while another process of Vyry has the database open, Unavailable."""
    if not is_postgres(url):
        await asyncio.to_thread(refuse_open_sqlite, Path(sqlite_path(url)))
        return
    async with database_guard():
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        try:
            [found] = await connection.fetch(_SESSIONS)
        finally:
            await connection.close(timeout=_CONNECT_SECONDS)
    if found["connections"]:
        place = f"one at {found['address']}" if found["address"] else "on the machine of the server"
        raise OperationRefused(
            f"Nodes use the database ({found['connections']} connections from {max(1, found['hosts'])} hosts, {place}): stop every process of Vyry first."
        )
