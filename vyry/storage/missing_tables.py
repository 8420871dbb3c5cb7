"""A database without the tables of this release: one log line, and Unavailable until `vyry migrate` has run."""

import importlib.util
import pkgutil
import time
from functools import lru_cache
from typing import Final

import asyncpg

from vyry.errors import Unavailable
from vyry.telemetry import log


#: What PostgreSQL answers to a statement about a table, column or function that does not exist yet.
MISSING_ERRORS: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
#: After so many seconds without such an error the next one is logged again.
_QUIET_SECONDS: Final = 60.0


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


@lru_cache(maxsize=1)
def release_migrations() -> frozenset[str]:
    """The names of the migrations of this release."""
    package = importlib.util.find_spec("migrations")
    folders = (package.submodule_search_locations or ()) if package is not None else ()
    return frozenset(each.name for each in pkgutil.iter_modules(folders) if each.name[0].isdigit())
