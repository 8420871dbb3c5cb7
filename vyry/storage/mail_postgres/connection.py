"""Connections of the mail statements: one each for post, deposit, collect and acknowledge, with pinned plans, mended when they break."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from vyry.errors import Unavailable


#: A statement, or finding the database again, takes no longer than this; then the answer is Unavailable.
DEADLINE_SECONDS = 4.0
#: On a queue table the planner's choice would depend on when autovacuum last looked; these plans are nested loops over the indexes, always.
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
    # asyncpg 0.32 says so when a connection was ended by the server between two statements.
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
    """One connection used by one kind of statement at a time. A failure closes it; the next statement opens it anew."""

    def __init__(self, url: str, name: str, plans: dict[str, str]) -> None:
        self._url = url
        self._settings = {"application_name": f"vyry-{name}", "lock_timeout": "3000", **plans}
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, sql: str, *arguments: object) -> Sequence[asyncpg.Record]:
        """Run one statement in a transaction of its own. Raises Unavailable when its outcome cannot be known or had."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._turn:
                return await self._fetch(sql, *arguments)
        except TimeoutError as problem:
            raise Unavailable("The database is away.") from problem

    async def _fetch(self, sql: str, *arguments: object) -> Sequence[asyncpg.Record]:
        try:
            connection = await self._connect()
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows
        except _OUTAGE_ERRORS as problem:
            self._terminate()
            raise Unavailable("The database is away.") from problem
        except _BUSY_ERRORS as problem:
            raise Unavailable("The database is busy.") from problem
        except asyncio.CancelledError:
            # Whether the statement was run is not known; what its answer would be read by next must not be.
            self._terminate()
            raise

    async def close(self) -> None:
        """Give the connection back."""
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
