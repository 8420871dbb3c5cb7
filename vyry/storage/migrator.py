"""Migrations: `vyry migrate`, `vyry rollback`, and the migration at `vyry start`.

A release runs on the schema of any newer release whose steps only expand it: new tables, columns that may stay empty, functions that take what they took.
A step that takes something away has `_contract` in its name, which is all that an older release can see of it (ADR 0037).

Each call is one transaction including its entries in `tortoise_migrations`: a crash leaves the old schema. Concurrent calls run one after the other.
"""

import asyncio
import fcntl
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.context import TortoiseContext
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_editor.sqlite import SqliteSchemaEditor
from tortoise.transactions import in_transaction

from vyry.errors import SchemaTooNew, SchemaTooOld
from vyry.storage.database import MIGRATION_TIMEOUT_SECONDS, database_guard, is_postgres, sqlite_path, tortoise_config


#: The advisory lock of a migration: "vyry" as a number.
_LOCK: Final = 0x76797279
_APP: Final = "vyry"
#: The first step of the schema before 1.0, whose steps were replaced by one.
_BEFORE_1_0: Final = "0001_initial"
#: In the name of a step that an older release does not survive.
CONTRACT: Final = "_contract"
_CONNECT_SECONDS: Final = 5.0

Progress = Callable[[str], None]


async def refuse_unknown(url: str) -> list[str]:
    """The migrations of newer releases that this release can run on; changes nothing.

    Raises SchemaTooNew or SchemaTooOld when this release cannot run on the schema, Unavailable when the database is down.
    """
    known = await release_migrations(url)
    unknown = [name for name in await applied_migrations(url) if name not in known]
    if _BEFORE_1_0 in unknown:
        raise SchemaTooOld(
            "The database was made by a version of Vyry before 1.0, which cannot be upgraded:"
            " start with an empty database (`vyry start`: with an empty folder, VYRY_DATA_DIR)."
        )
    if any(CONTRACT in name for name in unknown):
        raise SchemaTooNew(
            f"The database was migrated by a newer release of Vyry ({', '.join(unknown)}): run that release, or undo them with its `vyry rollback --yes`."
        )
    return unknown


async def refuse_newer(url: str) -> None:
    """Raises SchemaTooNew when a newer release applied the newest migration, also one that this release can run on; SchemaTooOld, Unavailable."""
    if unknown := await refuse_unknown(url):
        raise SchemaTooNew(
            f"The newest migration, {unknown[-1]}, is of a newer release of Vyry, and only that release can undo it. This release runs on it: nothing has to be undone."
        )


async def migrate(url: str, progress: Progress | None = None) -> list[str]:
    """Apply all new migrations; returns their names. Raises Unavailable, SchemaTooNew, SchemaTooOld."""
    async with migration_lock(url):
        await refuse_unknown(url)
        waiting = await pending_migrations(url)
        if waiting:
            if not is_postgres(url):
                _back_up_file(Path(sqlite_path(url)), copy_file(url, waiting[0]))
            await _migrate_to(url, "__latest__", progress)
    return waiting


async def rollback(url: str, progress: Progress | None = None) -> str | None:
    """Undo the newest migration, with the data of its tables and columns; returns its name, None if there is none. Raises Unavailable, SchemaTooNew, SchemaTooOld."""
    async with migration_lock(url):
        await refuse_newer(url)
        names = await applied_migrations(url)
        if not names:
            return None
        if not is_postgres(url):
            _back_up_file(Path(sqlite_path(url)), copy_file(url, f"undoing-{names[-1]}"))
        await _migrate_to(url, names[-2] if len(names) > 1 else "__first__", progress)
        return names[-1]


def copy_file(url: str, name: str) -> Path:
    """The copy of a SQLite file from before the migration of this name, or from before `undoing-NAME`."""
    path = Path(sqlite_path(url))
    return path.with_name(f"{path.name}.before-{name}")


async def pending_migrations(url: str) -> list[str]:
    """The migrations that are not applied yet, in order. Raises Unavailable."""
    names = await applied_migrations(url)
    return [each for each in await release_migrations(url) if each not in names]


async def applied_migrations(url: str) -> list[str]:
    """The migrations that are applied, in order. Raises Unavailable."""
    if not is_postgres(url) and not await asyncio.to_thread(Path(sqlite_path(url)).exists):
        return []
    async with _executor(url) as executor:
        # Tortoise treats any failure to read its table as an empty table, so the database is asked first.
        await executor.connection.execute_query("SELECT 1")
        return sorted(key.name for key in await executor.recorder.applied_migrations() if key.app_label == _APP)


async def release_migrations(url: str) -> list[str]:
    """The migrations of this release, in order."""
    async with _executor(url) as executor:
        executor.loader.load_disk()
        return sorted(key.name for key in executor.loader.disk_migrations)


async def _migrate_to(url: str, target: str, progress: Progress | None) -> None:
    def report(event: str, _app: str, name: str) -> None:
        if progress and event.endswith("_done"):
            progress(name)

    async with _executor(url) as outside:
        await outside.recorder.ensure_schema(outside._schema_editor(atomic=False))  # noqa: SLF001  it has no public name for it
        async with in_transaction("default") as connection:
            await _Executor(connection, tortoise_config(url)["apps"]).migrate(
                [MigrationTarget(_APP, target)], progress=report
            )
            await _check_references(connection)


async def _check_references(connection: BaseDBAsyncClient) -> None:
    """On SQLite foreign keys were not enforced during the migration: check that none is broken."""
    if connection.capabilities.dialect == "sqlite":
        _, broken = await connection.execute_query("PRAGMA foreign_key_check")
        if broken:
            raise RuntimeError(f"The migration left {len(broken)} rows that point to nothing; it was undone.")


class _Executor(MigrationExecutor):
    def _schema_editor(self, atomic: bool = True, collect_sql: bool = False) -> BaseSchemaEditor:  # noqa: FBT001, FBT002  Tortoise's signature
        if self.connection.capabilities.dialect == "sqlite":
            return _ScriptSchemaEditor(self.connection, atomic=atomic, collect_sql=collect_sql)
        return super()._schema_editor(atomic, collect_sql)


class _ScriptSchemaEditor(SqliteSchemaEditor):
    """Tortoise 1.1.9 splits a script at every semicolon, also in a comment; tortoise_sqlite splits it correctly."""

    async def _run_sql(self, sql: str) -> None:
        await self.client.execute_script(sql)


@asynccontextmanager
async def _executor(url: str) -> AsyncIterator[_Executor]:
    config = tortoise_config(url, is_migrating=True)
    async with TortoiseContext() as context:
        await context.init(config=config)
        async with database_guard(MIGRATION_TIMEOUT_SECONDS):
            yield _Executor(context.connections.get("default"), config["apps"])


@asynccontextmanager
async def migration_lock(url: str) -> AsyncIterator[None]:
    """Only one process migrates this database at a time; a second one waits, and then finds nothing to do."""
    if is_postgres(url):
        async with database_guard(MIGRATION_TIMEOUT_SECONDS):
            lock = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        try:
            async with database_guard(MIGRATION_TIMEOUT_SECONDS):
                await lock.execute("SELECT pg_advisory_lock($1)", _LOCK)
            yield
        finally:
            await lock.close(timeout=_CONNECT_SECONDS)
        return
    path = Path(sqlite_path(url))
    await asyncio.to_thread(path.parent.mkdir, 0o700, parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.migrating").open("w") as file:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield


def _back_up_file(path: Path, copy: Path) -> None:
    """Copy a SQLite file that has tables."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as source:
        if not source.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            return
        with closing(sqlite3.connect(copy)) as target:
            source.backup(target)
