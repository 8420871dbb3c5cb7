"""Everything that a database holds, as text: tests search it for secrets."""

import json
from collections.abc import Collection
from typing import Any
from uuid import UUID

from vyry.storage.database import connection, database_guard


_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    "postgres": "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY name",
}
#: Far from any other number, so that a mailbox is known wherever it stands.
FIRST_MAILBOX = 7_770_000_000_001
_BEGIN_AT = {
    "sqlite": f"INSERT INTO sqlite_sequence (name, seq) VALUES ('mailbox', {FIRST_MAILBOX - 1})",
    "postgres": f"SELECT setval('mailbox_id_seq', {FIRST_MAILBOX}, false)",
}


async def table_names() -> list[str]:
    """The names of all tables but the one of the migrations."""
    async with database_guard():
        found = await connection().execute_query_dict(_TABLES[connection().capabilities.dialect])
    return [row["name"] for row in found if row["name"] != "tortoise_migrations"]


async def column_names() -> dict[str, list[str]]:
    """The columns of all tables."""
    found = {}
    for table in await table_names():
        if connection().capabilities.dialect == "sqlite":
            sql = f"SELECT name FROM pragma_table_info('{table}')"
        else:
            sql = f"SELECT column_name AS name FROM information_schema.columns WHERE table_name = '{table}'"
        async with database_guard():
            found[table] = [row["name"] for row in await connection().execute_query_dict(sql)]
    return found


async def start_mailbox_ids_high() -> None:
    """Let the keys of mailboxes begin where nothing else counts."""
    async with database_guard():
        await connection().execute_query(_BEGIN_AT[connection().capabilities.dialect])


async def find_mentions(needles: Collection[str]) -> set[str]:
    """The `table.column`s in some row of which one of these stands: ids without hyphens, numbers in decimal, hashes in hex."""
    found = set()
    for table in await table_names():
        async with database_guard():
            rows = await connection().execute_query_dict(f"SELECT * FROM {table}")
        for row in rows:
            found |= {
                f"{table}.{name}"
                for name, value in row.items()
                if any(each in _searchable_text(value) for each in needles)
            }
    return found


def _searchable_text(value: Any) -> str:
    """The value with everything in it that could be an id: bytes also as the numbers they may be a list of."""
    if isinstance(value, (bytes, memoryview)):
        raw = bytes(value)
        numbers = [int.from_bytes(raw[place : place + 8], "big") for place in range(0, len(raw), 8)]
        return f"{raw.hex()} {raw.decode('latin-1').replace('-', '')} {numbers}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str).replace("-", "")
    if isinstance(value, UUID):
        return value.hex
    return str(value).replace("-", "")


async def dump_all_rows() -> dict[str, list[str]]:
    """Every row of every table."""
    found = {}
    for table in await table_names():
        async with database_guard():
            rows = await connection().execute_query_dict(f"SELECT * FROM {table}")
        found[table] = sorted(str(sorted(row.items())) for row in rows)
    return found
