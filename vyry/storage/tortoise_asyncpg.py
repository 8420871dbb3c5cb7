"""Tortoise's PostgreSQL backend with time-outs for every wait; a broken connection is removed from the pool.

Written for Tortoise 1.1.9, which waits for a free connection without time-out, and loses a connection when BEGIN fails on it
(tests/integration/test_database.py fails when this can go). Tortoise picks the dialect by the name of the module: keep `asyncpg` in it.
"""
# ruff: noqa: SLF001 - these classes complete Tortoise's own

import asyncio
from types import TracebackType
from typing import Any, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import PoolConnectionWrapper, TransactionalDBClient, TransactionContext
from tortoise.connection import ConnectionToken, get_connections


#: For a free connection, and for a new one.
ACQUIRE_SECONDS = 2.0


class BoundedPostgres(AsyncpgDBClient):
    """A pool for one URL, which asyncpg parses like libpq. Opening it makes no connection."""

    def __init__(self, dsn: str, command_seconds: float, pool_size: int, **more: Any) -> None:
        super().__init__(**more)
        self._dsn = dsn
        self._command_seconds = command_seconds
        self._pool_size = pool_size
        self._waiting = 0

    @property
    def load(self) -> tuple[int, int, int]:
        """The connections that the pool may have, how many are in use, and how many callers wait for one."""
        pool = self._pool
        used = pool.get_size() - pool.get_idle_size() if pool else 0
        return self._pool_size, used, self._waiting

    async def create_connection(self, with_db: bool) -> None:  # noqa: ARG002, FBT001  Tortoise's signature
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=self._pool_size,
            timeout=ACQUIRE_SECONDS,
            command_timeout=self._command_seconds,
            server_settings=self.server_settings,
            reset=_skip_reset,
        )
        await self._post_connect()

    def acquire_connection(self) -> Any:
        return _PooledConnection(self, self._pool_init_lock)

    def _in_transaction(self) -> TransactionContext:
        return _Transaction(self)

    async def acquire_bounded(self) -> PoolConnectionProxy:
        """A connection within `ACQUIRE_SECONDS`; return it with `give_back`."""
        await PoolConnectionWrapper(self, self._pool_init_lock).ensure_connection()
        pool = cast("asyncpg.Pool", self._pool)
        self._waiting += 1
        try:
            return await pool.acquire(timeout=ACQUIRE_SECONDS)
        finally:
            self._waiting -= 1

    async def release_bounded(self, connection: PoolConnectionProxy, problem: BaseException | None) -> None:
        """Return the connection to the pool; close it after a time-out or cancellation, as the server may still run its statement."""
        if isinstance(problem, (TimeoutError, asyncio.CancelledError)):
            connection.terminate()
        if self._pool:
            await self._pool.release(connection)
        else:
            connection.terminate()


async def _skip_reset(_: asyncpg.Connection) -> None:
    """Nothing: statements leave no session state behind, and asyncpg's own reset costs a round trip each time."""


class _PooledConnection(PoolConnectionWrapper[PoolConnectionProxy]):
    client: BoundedPostgres

    async def __aenter__(self) -> PoolConnectionProxy:
        self.connection = await self.client.acquire_bounded()
        return self.connection

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        await self.client.release_bounded(cast("PoolConnectionProxy", self.connection), exc_val)


class _Transaction(TransactionContext):
    def __init__(self, parent: BoundedPostgres) -> None:
        self._parent = parent
        self.client = TransactionWrapper(parent)
        self._token: ConnectionToken | None = None

    async def __aenter__(self) -> TransactionalDBClient:
        self.client._connection = connection = await self._parent.acquire_bounded()
        try:
            await self.client.begin()
        except BaseException as problem:
            await self._parent.release_bounded(connection, problem)
            raise
        self._token = get_connections().set(self.client.connection_name, self.client)
        return self.client

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        problem = exc_val
        try:
            if problem is None:
                await self.client.commit()
            elif not isinstance(problem, (TimeoutError, asyncio.CancelledError)):
                await self.client.rollback()
        except BaseException as failure:
            problem = failure
            raise
        finally:
            get_connections().reset(self._token)
            await self._parent.release_bounded(self.client._connection, problem)


client_class = BoundedPostgres
