"""Raw statements, written once in the dialect of PostgreSQL ($1, `= ANY($2)`, row locks) and run on both databases."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.clock import SystemClock


_AMONG = re.compile(r"= ANY\((\$\d+)\)")
_LOCK = re.compile(r"\s+FOR (?:NO KEY )?UPDATE(?: OF \w+)?(?: SKIP LOCKED)?")


async def fetch(connection: BaseDBAsyncClient, sql: str, *values: object) -> list[dict[str, Any]]:
    """Run one statement and return its rows.

    For SQLite `= ANY($1)` is rewritten to a JSON list, and a row lock is removed: a transaction that began with a write is the only writer there.
    """
    if connection.capabilities.dialect != "sqlite":
        return await connection.execute_query_dict(sql, list(values))
    return await connection.execute_query_dict(_for_sqlite(sql), [_sqlite_value(value) for value in values])


async def database_now(connection: BaseDBAsyncClient) -> datetime:
    """The time by the clock that triggers use; that of this machine on SQLite."""
    if connection.capabilities.dialect == "sqlite":
        return SystemClock().now()
    (row,) = await fetch(connection, "SELECT clock_timestamp() AS now")
    return to_datetime(row["now"])


@lru_cache(maxsize=256)
def _for_sqlite(sql: str) -> str:
    return _LOCK.sub("", _AMONG.sub(r"IN (SELECT value FROM json_each(\1))", sql)).replace("$", "?")


def _sqlite_value(value: object) -> object:
    """The value as Tortoise stores it on SQLite: UUIDs and datetimes are texts."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return json.dumps([str(each) if isinstance(each, UUID) else each for each in value])
    return value


def to_uuid(value: Any) -> UUID:
    """The UUID of a raw row of either database."""
    return value if isinstance(value, UUID) else UUID(str(value))


def to_datetime(value: Any) -> datetime:
    """The datetime of a raw row of either database, or of a model, whose zone is another object that means UTC."""
    return (value if isinstance(value, datetime) else datetime.fromisoformat(value)).astimezone(UTC)


def to_optional_datetime(value: Any) -> datetime | None:
    """The datetime of a raw row of either database, None for NULL."""
    return None if value is None else to_datetime(value)


def to_date(value: Any) -> date:
    """The date of a raw row of either database."""
    return value if isinstance(value, date) else date.fromisoformat(value)
