"""The database of the account-sized stores: Tortoise on PostgreSQL or on a SQLite file, opened once per process.

While the database is down, a block under `database_guard` raises Unavailable within its time-out (4.5 s by default); it works again once the database is up.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
from tortoise import Tortoise
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.backends.base.executor import EXECUTOR_CACHE
from tortoise.connection import get_connection
from tortoise.exceptions import DBConnectionError, OperationalError
from tortoise.transactions import in_transaction

from vyry.errors import Unavailable
from vyry.storage.missing_tables import MISSING_ERRORS, is_migrated, record_missing


#: The time-outs of a guarded block and of one statement; for that of a connection see tortoise_asyncpg.
TIMEOUT_SECONDS: Final = 4.5
STATEMENT_TIMEOUT_SECONDS: Final = 4.0
MIGRATION_TIMEOUT_SECONDS: Final = 600.0
POOL_SIZE: Final = 10

_POSTGRES_SCHEMES: Final = ("postgres", "postgresql")
_POSTGRES_OUTAGE_ERRORS: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
_SQLITE_OUTAGE_NAMES: Final = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_IOERR",
    "SQLITE_FULL",
    "SQLITE_CANTOPEN",
    "SQLITE_READONLY",
)


def is_postgres(url: str) -> bool:
    """Whether this URL names a PostgreSQL server (else it is a SQLite file)."""
    return urlsplit(url).scheme in _POSTGRES_SCHEMES


def tortoise_config(url: str, *, is_migrating: bool = False) -> dict[str, Any]:
    """The configuration of Tortoise: one connection `default`, one app `vyry`, migrations in the package `migrations`."""
    return {
        "connections": {"default": _postgres(url, is_migrating) if is_postgres(url) else _sqlite(url, is_migrating)},
        "apps": {
            "vyry": {
                "models": [
                    "vyry.storage.models",
                    "vyry.storage.sign_up_models",
                    "vyry.storage.conversation_models",
                    "vyry.storage.partition_models",
                ],
                "default_connection": "default",
                "migrations": "migrations",
            }
        },
        "use_tz": True,
        "timezone": "UTC",
    }


def sqlite_path(url: str) -> str:
    """The file a SQLite URL names: `sqlite://` and its path, absolute or relative."""
    return url.partition("://")[2].partition("?")[0]


def _postgres(url: str, is_migrating: bool) -> dict[str, Any]:  # noqa: FBT001
    seconds = MIGRATION_TIMEOUT_SECONDS if is_migrating else STATEMENT_TIMEOUT_SECONDS
    settings = {
        "application_name": "vyry",
        "jit": "off",
        # The server aborts a statement just before the client does, so that none runs on.
        "statement_timeout": str(round(seconds * 1000) - 500),
        "lock_timeout": "10000" if is_migrating else "3000",
        "idle_in_transaction_session_timeout": "600000" if is_migrating else "10000",
    }
    return {
        "engine": "vyry.storage.tortoise_asyncpg",
        "credentials": {"dsn": url, "command_seconds": seconds, "pool_size": POOL_SIZE, "server_settings": settings},
    }


def _sqlite(url: str, is_migrating: bool) -> dict[str, Any]:  # noqa: FBT001
    pragmas = {
        "journal_mode": "WAL",
        "synchronous": "FULL",
        "busy_timeout": "4000",
        "journal_size_limit": str(64 << 20),
        # Rebuilding a table in a migration would delete the rows that refer to it.
        "foreign_keys": "OFF" if is_migrating else "ON",
    }
    return {"engine": "vyry.storage.tortoise_sqlite", "credentials": {"file_path": sqlite_path(url), **pragmas}}


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[None]:
    """Open Tortoise for all tasks of this process while the block lasts.

    It succeeds also while PostgreSQL is down: connections are opened on demand.
    """
    # The underscore-named switch makes the connection visible to tasks that were not started in this context (Tortoise 1.1.9).
    await Tortoise.init(config=tortoise_config(url), _enable_global_fallback=True)
    try:
        if not is_postgres(url):
            # Otherwise its lock would never be released if the first statement finds the file unreadable.
            await connection().create_connection(with_db=True)
        yield
    finally:
        await Tortoise.close_connections()
        # Tortoise (1.1.9) caches statements by the name of the connection only; the next database may have the other dialect.
        EXECUTOR_CACHE.clear()


@asynccontextmanager
async def database_guard(seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[None]:
    """Raises Unavailable if the block takes longer, or if the database is down, overloaded, full or not migrated."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (OSError, DBConnectionError, *_POSTGRES_OUTAGE_ERRORS) as error:
        raise Unavailable("The database is unavailable.") from error
    except (OperationalError, sqlite3.OperationalError) as error:
        # Tortoise wraps the errors of statements, but not those of BEGIN and COMMIT.
        cause = error if isinstance(error, sqlite3.OperationalError) else (*error.args, None)[0]
        if isinstance(cause, MISSING_ERRORS) and not await is_migrated(connection().execute_query_dict):
            raise record_missing(cause) from error
        if not (isinstance(cause, sqlite3.Error) and is_sqlite_outage(cause)):
            raise
        raise Unavailable("The database is overloaded; retry.") from error


def is_sqlite_outage(error: sqlite3.Error) -> bool:
    """Whether the error is about the state of the file. Any other error is a bug and is not converted."""
    # Errors of the sqlite3 module itself have no name.
    name: str = getattr(error, "sqlite_errorname", "")
    return any(name == away or name.startswith(f"{away}_") for away in _SQLITE_OUTAGE_NAMES)


@asynccontextmanager
async def transaction() -> AsyncIterator[BaseDBAsyncClient]:
    """A guarded transaction. Its first statement must be a write or a lock (vyry/storage/locks.py): on SQLite it makes the transaction the only writer."""
    async with database_guard(), in_transaction("default") as connection:
        yield connection


def pool_load() -> tuple[int, int, int]:
    """The connections that this process may have, how many are in use, and how many callers wait for one."""
    load: tuple[int, int, int] = getattr(get_connection("default"), "load", (0, 0, 0))
    return load


def connection() -> BaseDBAsyncClient:
    """The connection for raw statements; inside a transaction it is that of the transaction."""
    return get_connection("default")
