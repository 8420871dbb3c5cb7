"""Tortoise's SQLite backend with transactions that take the write lock at once, always give their turn back, and hold scripts too.

Written against Tortoise 1.1.9, whose deferred BEGIN fails under concurrent writers, whose lock stays taken when BEGIN fails, and whose scripts
commit the transaction they stand in. Its executor picks the dialect by the module's name: keep `sqlite` in it.
"""
# ruff: noqa: SLF001 - these classes complete Tortoise's own

import sqlite3
from types import TracebackType

from tortoise.backends.base.client import NestedTransactionContext, TransactionalDBClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionWrapper
from tortoise.connection import ConnectionToken, get_connections


class ImmediateSqlite(SqliteClient):
    """One connection to one file; its transactions come one after the other."""

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
        """Leave no transaction open (a cancelled BEGIN or COMMIT still runs in the connection's thread), then let the next one in."""
        try:
            if self._parent._connection:
                await self._parent._connection.rollback()
        finally:
            self._parent._lock.release()


def split_statements(script: str) -> list[str]:
    """The statements of a script; a semicolon inside quotes or a trigger does not end one."""
    found, text = [], ""
    for part in script.split(";"):
        text += part + ";"
        if sqlite3.complete_statement(text):
            found.append(text.strip())
            text = ""
    return [each for each in [*found, text.strip(" ;\n")] if each.strip("; \n")]


client_class = ImmediateSqlite
