"""Tortoise's SQLite backend with transactions that take the write lock at once, always release their lock, and may contain scripts.

Written for Tortoise 1.1.9: its deferred BEGIN fails with concurrent writers, its lock stays locked when BEGIN fails, and its scripts commit the transaction.
Tortoise picks the dialect by the name of the module: keep `sqlite` in it.
"""
# ruff: noqa: SLF001 - these classes complete Tortoise's own

import sqlite3
from types import TracebackType

from tortoise.backends.base.client import NestedTransactionContext, TransactionalDBClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionWrapper
from tortoise.connection import ConnectionToken, get_connections


class ImmediateSqlite(SqliteClient):
    """One connection to one file; its transactions run one after the other."""

    @property
    def load(self) -> tuple[int, int, int]:
        """One connection, whether it is in use, and how many callers wait for it."""
        return 1, int(self._lock.locked()), len(self._lock._waiters or ())

    def _in_transaction(self) -> TransactionContext:
        return _Transaction(self)


class _InTransaction(SqliteTransactionWrapper):
    def _in_transaction(self) -> TransactionContext:
        return NestedTransactionContext(_InTransaction(self))

    async def begin(self) -> None:
        await self._connection.execute("BEGIN IMMEDIATE")

    async def execute_script(self, query: str) -> None:
        for statement in split_statements(query):
            await self.execute_query(statement)


class _Transaction(TransactionContext):
    def __init__(self, parent: ImmediateSqlite) -> None:
        self._parent = parent
        self._token: ConnectionToken | None = None

    async def __aenter__(self) -> TransactionalDBClient:
        await self._parent._lock.acquire()
        try:
            if not self._parent._connection:
                await self._parent.create_connection(with_db=True)
            self.client = _InTransaction(self._parent)
            await self.client.begin()
        except BaseException:
            await self._roll_back_and_unlock()
            raise
        self._token = get_connections().set(self._parent.connection_name, self.client)
        return self.client

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        try:
            if exc_val is None:
                await self.client.commit()
        finally:
            get_connections().reset(self._token)
            await self._roll_back_and_unlock()

    async def _roll_back_and_unlock(self) -> None:
        """Roll back a transaction that is still open (a cancelled BEGIN or COMMIT runs on in the thread of the connection), and release the lock."""
        try:
            if self._parent._connection:
                await self._parent._connection.rollback()
        finally:
            self._parent._lock.release()


def split_statements(script: str) -> list[str]:
    """The statements of a script; a semicolon in quotes or in a trigger does not end a statement."""
    found, text = [], ""
    for part in script.split(";"):
        text += part + ";"
        if sqlite3.complete_statement(text):
            found.append(text.strip())
            text = ""
    return [each for each in [*found, text.strip(" ;\n")] if each.strip("; \n")]


client_class = ImmediateSqlite
