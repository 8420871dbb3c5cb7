"""A database without the tables of this release: one log line, and Unavailable until `vyry migrate` has run."""

import importlib.util
import pkgutil
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import asyncpg
from tortoise.exceptions import OperationalError, TransactionManagementError

from vyry.errors import Unavailable
from vyry.telemetry import log


#: What PostgreSQL answers to a statement about a table, column or function that does not exist yet.
MISSING_ERRORS: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
_APPLIED: Final = "SELECT name FROM tortoise_migrations WHERE app = 'vyry'"
#: After so many seconds without such an error the next one is logged again.
_QUIET_SECONDS: Final = 60.0

Fetch = Callable[[str], Awaitable[Sequence[Any]]]


class _MissingTables:
    """When a table was last missing in this process."""

    def __init__(self) -> None:
        self._missed_at = float("-inf")

    def record(self, problem: BaseException) -> Unavailable:
        """Log the first error of many; returns what the request gets."""
        now = time.monotonic()
        if now - self._missed_at > _QUIET_SECONDS:
            log.error("not_migrated", problem=f"{problem}: run `vyry migrate`")
        self._missed_at = now
        return Unavailable("The database is not migrated.")


#: PostgreSQL names tables, columns and functions in these errors, and no values.
record_missing: Final = _MissingTables().record


async def is_migrated(fetch: Fetch) -> bool:
    """Whether all migrations of this release are applied. On a migrated database a missing table is a bug."""
    try:
        return not await missing_migrations(fetch)
    except TransactionManagementError:
        # In a transaction that has failed: the guard around the transaction asks again.
        return True


async def missing_migrations(fetch: Fetch) -> list[str]:
    """The migrations of this release that are not applied, in order; `fetch` runs the statement. Tortoise's own reader takes longer than a short command."""
    try:
        rows = await fetch(_APPLIED)
    except asyncpg.UndefinedTableError:
        rows = []
    except OperationalError as problem:
        # Tortoise wraps the error of the driver.
        if not isinstance(problem.args[0], asyncpg.UndefinedTableError) and "no such table" not in str(problem):
            raise
        rows = []
    return sorted(_release_migrations() - {row["name"] for row in rows})


@lru_cache(maxsize=1)
def _release_migrations() -> frozenset[str]:
    """The names of the migrations of this release."""
    package = importlib.util.find_spec("migrations")
    folders = (package.submodule_search_locations or ()) if package is not None else ()
    return frozenset(each.name for each in pkgutil.iter_modules(folders) if each.name[0].isdigit())
