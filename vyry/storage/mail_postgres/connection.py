"""The connections of the mail statements: one each for post, deposit, collect and acknowledge, with pinned plans, reopened after a failure."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from vyry.errors import Unavailable
from vyry.storage.missing_tables import MISSING_ERRORS, is_migrated, record_missing


#: The time-out of a statement and of opening a connection.
DEADLINE_SECONDS = 4.0
#: On a queue table the plan would depend on the last autovacuum; with these settings it is always a nested loop over the indexes.
PINNED_PLANS = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "join_collapse_limit": "1",
    "from_collapse_limit": "1",
}
_OUTAGE_ERRORS = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # asyncpg 0.32 raises it when the server closed the connection between two statements.
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
)
_BUSY_ERRORS = (
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
)


class PostgresConnection:
    """One connection for one kind of statement. A failure closes it; the next statement opens it again."""

    def __init__(self, url: str, name: str, plans: dict[str, str]) -> None:
        self._url = url
        self._settings = {"application_name": f"vyry-{name}", "lock_timeout": "3000", **plans}
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, sql: str, *arguments: object) -> Sequence[asyncpg.Record]:
        """Run one statement in a transaction of its own. Raises Unavailable; then the statement may have been committed or not."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._turn:
                return await self._fetch(sql, *arguments)
        except TimeoutError as problem:
            raise Unavailable("The database is unavailable.") from problem

    async def _fetch(self, sql: str, *arguments: object) -> Sequence[asyncpg.Record]:
        try:
            connection = await self._connect()
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows
        except _OUTAGE_ERRORS as problem:
            self._terminate()
            raise Unavailable("The database is unavailable.") from problem
        except _BUSY_ERRORS as problem:
            raise Unavailable("The database is overloaded; retry.") from problem
        except MISSING_ERRORS as problem:
            if await is_migrated((await self._connect()).fetch):
                raise
            raise record_missing(problem) from problem
        except asyncio.CancelledError:
            # The statement may still run, and its result must not be read by the next statement.
            self._terminate()
            raise

    async def close(self) -> None:
        """Close the connection."""
        async with self._turn:
            if self._connection is not None and not self._connection.is_closed():
                await self._connection.close(timeout=DEADLINE_SECONDS)
            self._connection = None

    async def _connect(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._url, timeout=DEADLINE_SECONDS, server_settings=self._settings, statement_cache_size=64
            )
        return self._connection

    def _terminate(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
