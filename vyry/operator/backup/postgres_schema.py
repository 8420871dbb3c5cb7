"""The tables of a PostgreSQL database as a whole: they are moved aside for a restore, and moved back when it fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from vyry.operator.backup.postgres_programs import ASIDE
from vyry.storage.database import database_guard


_CONNECT_SECONDS: Final = 4.0
_ANALYZE_SECONDS: Final = 600.0
_HAS_TABLES: Final = "SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema())"
#: The schema that every database begins with.
_COMMON: Final = "public"


async def has_postgres_tables(url: str) -> bool:
    """Whether there is anything in the database. Raises Unavailable."""
    async with _connected(url) as connection:
        return bool(await connection.fetchval(_HAS_TABLES))


async def analyze(url: str) -> None:
    """Collect the statistics that a dump does not have. Raises Unavailable."""
    async with _connected(url, _ANALYZE_SECONDS) as connection:
        await connection.execute("ANALYZE", timeout=_ANALYZE_SECONDS)


@asynccontextmanager
async def put_aside(url: str, suffix: str) -> AsyncIterator[str | None]:
    """Move the tables into a schema of their own, whose name the block gets (None: there are none); back again when the block fails. Raises Unavailable."""
    async with _connected(url) as connection:
        name: str = await connection.fetchval("SELECT quote_ident(current_schema())")
        has_tables = await connection.fetchval(_HAS_TABLES)
        aside = f"{ASIDE}{suffix}" if has_tables else None
        if aside:
            await _run_together(connection, _rename(name, aside), *_create(name))
    try:
        yield aside
    except BaseException:
        if aside:
            async with _connected(url) as connection:
                drop = () if name != _COMMON else (f"DROP SCHEMA {_COMMON} CASCADE",)
                await _run_together(connection, *drop, _rename(aside, name))
        raise


def _rename(name: str, new: str) -> str:
    """`name` was quoted by the server; the other one is made of letters and digits."""
    return f"ALTER SCHEMA {name} RENAME TO {new}"  # nosemgrep: sql-only-from-constants - see above


def _create(name: str) -> tuple[str, ...]:
    """The schema that every database begins with; any other is made by the dump."""
    if name != _COMMON:
        return ()
    return (f"CREATE SCHEMA {_COMMON}", f"GRANT USAGE ON SCHEMA {_COMMON} TO PUBLIC")


async def _run_together(connection: asyncpg.Connection, *statements: str) -> None:
    async with connection.transaction():
        for statement in statements:
            await connection.execute(statement)


@asynccontextmanager
async def _connected(url: str, seconds: float = 60.0) -> AsyncIterator[asyncpg.Connection]:
    async with database_guard(seconds):
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        try:
            yield connection
        finally:
            await connection.close(timeout=_CONNECT_SECONDS)
