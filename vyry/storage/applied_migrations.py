"""Which migrations of this release an open database lacks, read without Tortoise's migrations: loading them takes longer than a short command."""

import importlib.util
import pkgutil
from typing import Final

from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch


_TABLE: Final = "tortoise_migrations"
_POSTGRES_EXISTS: Final = "SELECT 1 AS found WHERE to_regclass($1) IS NOT NULL"
_SQLITE_EXISTS: Final = "SELECT 1 AS found FROM sqlite_master WHERE name = $1"
_NAMES: Final = "SELECT name FROM tortoise_migrations WHERE app = 'vyry'"


async def missing_migrations() -> list[str]:
    """Their names, in order. Raises Unavailable."""
    exists = _SQLITE_EXISTS if connection().capabilities.dialect == "sqlite" else _POSTGRES_EXISTS
    async with database_guard():
        rows = await fetch(connection(), _NAMES) if await fetch(connection(), exists, _TABLE) else []
    return sorted(_release_migrations() - {str(row["name"]) for row in rows})


def _release_migrations() -> set[str]:
    package = importlib.util.find_spec("migrations")
    folders = (package.submodule_search_locations or ()) if package is not None else ()
    return {module.name for module in pkgutil.iter_modules(folders) if module.name[0].isdigit()}
