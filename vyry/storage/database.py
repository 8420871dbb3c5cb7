"""The database as all account-sized adapters see it: Tortoise on PostgreSQL or on a SQLite file, opened once per process.

Promise: while the database is away every statement ends within 5 s in `Unavailable`, and works again by itself once it is back.
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


#: What a caller waits for the database in all, and for one statement; for a connection see tortoise_asyncpg.
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
    """What Tortoise is opened with: one connection `default`, one app `vyry`, migrations in the package `migrations`."""
    return {
        "connections": {"default": _postgres(url, is_migrating) if is_postgres(url) else _sqlite(url, is_migrating)},
        "apps": {
            "vyry": {
                "models": [
                    f"vyry.storage.{name}" for name in ("models", "conversation_models", "notice_models", "node_models")
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
        # The server gives up just before the client does, so that nothing runs on unattended.
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
        # A table that a migration rebuilds would take the rows that point to it along.
        "foreign_keys": "OFF" if is_migrating else "ON",
    }
    return {"engine": "vyry.storage.tortoise_sqlite", "credentials": {"file_path": sqlite_path(url), **pragmas}}


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[None]:
    """Tortoise, usable from every task of this process, for as long as the block lasts.

    It opens also while PostgreSQL is away: connections are made when they are asked for.
    """
    # The underscore-named switch makes the connection visible to tasks that were not started in this context (Tortoise 1.1.9).
    await Tortoise.init(config=tortoise_config(url), _enable_global_fallback=True)
    try:
        if not is_postgres(url):
            # Its lock would stay taken for ever if the first statement found the file unreadable.
            await connection().create_connection(with_db=True)
        yield
    finally:
        await Tortoise.close_connections()
        # Tortoise keeps the statements of each model by the connection's name alone (1.1.9); the next database may be of the other kind.
        EXECUTOR_CACHE.clear()


@asynccontextmanager
async def database_guard(seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[None]:
    """Whatever the block asks of the database is answered within 5 s; its being away, busy or overfull is `Unavailable`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (OSError, DBConnectionError, *_POSTGRES_OUTAGE_ERRORS) as error:
        raise Unavailable("The database is away.") from error
    except (OperationalError, sqlite3.OperationalError) as error:
        # Tortoise wraps what statements raise, and lets through what BEGIN and COMMIT raise.
        cause = error if isinstance(error, sqlite3.OperationalError) else (*error.args, None)[0]
        if not (isinstance(cause, sqlite3.Error) and is_sqlite_outage(cause)):
            raise
        raise Unavailable("The database is busy.") from error


def is_sqlite_outage(error: sqlite3.Error) -> bool:
    """Whether this tells of the file's state; a wrong statement is a fault of ours and stays one."""
    # Errors that the sqlite3 module raises by itself carry no name.
    name: str = getattr(error, "sqlite_errorname", "")
    return any(name == away or name.startswith(f"{away}_") for away in _SQLITE_OUTAGE_NAMES)


@asynccontextmanager
async def transaction() -> AsyncIterator[BaseDBAsyncClient]:
    """One transaction with `available` around it. Its first statement must be a write or a locking read."""
    async with database_guard(), in_transaction("default") as connection:
        yield connection


def connection() -> BaseDBAsyncClient:
    """The connection outside any transaction (inside one: that transaction's), for raw statements."""
    return get_connection("default")
