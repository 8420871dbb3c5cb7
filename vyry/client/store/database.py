"""The SQLite file of a store: transactions and savepoints, a log without deleted values, and a checksum that detects rows changed by anything else."""

import errno
import fcntl
import hmac
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Self

from vyry.client.errors import StoreFailed, StoreFull, StoreLocked
from vyry.client.store.row_checksum import COUNT_STATEMENTS, SQL_FUNCTION, TRIGGERS, RowChecksum


#: `user_version` of the file; earlier versions had 0 and other keys.
_VERSION: Final = 1
_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    # Deleted data is overwritten with zeros in the file, and leaves the log with the next checkpoint.
    "PRAGMA secure_delete = ON",
    "PRAGMA journal_size_limit = 0",
    # Pages of a savepoint do not go into a temporary file.
    "PRAGMA temp_store = MEMORY",
    # INSERT OR REPLACE runs the triggers of the row it deletes.
    "PRAGMA recursive_triggers = ON",
    # The schema in the file may not call functions of this process.
    "PRAGMA trusted_schema = OFF",
)
_SCHEMA: Final = (
    "CREATE TABLE value (kind TEXT NOT NULL, name BLOB NOT NULL, until INTEGER, sealed BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID",
    "CREATE INDEX value_until ON value (until) WHERE until IS NOT NULL",
    # `is_taken` and `ends_at` are not sealed, because SQLite searches them. The checksum covers pending and expiring rows: if one is changed while the store is closed (an event shown again, never
    # shown, kept too long), the store does not open.
    "CREATE TABLE event (id INTEGER PRIMARY KEY AUTOINCREMENT, is_taken INTEGER NOT NULL DEFAULT 0, place BLOB, ends_at INTEGER, sealed BLOB NOT NULL)",
    "CREATE INDEX event_waiting ON event (id) WHERE is_taken = 0",
    "CREATE INDEX event_place ON event (place, id) WHERE place IS NOT NULL",
    "CREATE INDEX event_end ON event (ends_at) WHERE ends_at IS NOT NULL",
    "CREATE TABLE proof (sum BLOB NOT NULL)",
)
#: The table that SQLite creates for AUTOINCREMENT.
_SEQUENCE: Final = "CREATE TABLE sqlite_sequence(name,seq)"
#: Every other statement runs in a transaction, which updates the checksum.
_OUTSIDE_TRANSACTION: Final = ("SELECT", "PRAGMA", "CREATE TEMP TRIGGER")
#: A savepoint inside another has the same name: SQLite takes the innermost.
_SAVEPOINT: Final = "attempt"


class Database:
    """One open file. It belongs to one process, and one caller at a time uses it."""

    def __init__(self, path: Path, lock: IO[bytes], row_sum: RowChecksum) -> None:
        """Open the file; `lock` is held until it is closed. Raises StoreLocked, StoreFull, StoreFailed."""
        self.folder: Final = path.parent
        self._lock = lock
        #: A thread holds it for its whole transaction: no other thread reads what may be rolled back.
        self._thread_lock = threading.RLock()
        self._is_in_block = False
        self._is_truncation_due = False
        self._sum: Final = row_sum
        #: False while it may differ from the rows; it is computed again then.
        self._is_sum_known = True
        with _translated_errors(path.parent):
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            self._database.create_function(SQL_FUNCTION, -1, self._sum.toggle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, after the transaction that another thread has under way."""
        with self._thread_lock:
            self._is_truncation_due = True
            self._truncate_wal_if_due()
            self._database.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is stored, or nothing of it when the block fails. Nested blocks belong to the outermost. Raises StoreFull, StoreFailed."""
        with self._thread_lock:
            if self._is_in_block:
                # Part of the transaction around it.
                yield
                return
            with self._top_level_transaction():
                yield
            self._truncate_wal_if_due()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Part of a transaction that can fail alone: an error of the block undoes what was written inside, and the caller may catch it and go on.

        Outside a transaction it is one. Raises StoreFull, StoreFailed, after which the whole transaction has to be given up: SQLite may have rolled it back.
        """
        with self.transaction():
            before = self._sum.value
            self._run(f"SAVEPOINT {_SAVEPOINT}")
            try:
                yield
            except BaseException:
                if self._in_transaction:
                    self._run(f"ROLLBACK TO {_SAVEPOINT}")
                    self._run(f"RELEASE {_SAVEPOINT}")
                    self._sum.value = before
                raise
            self._run(f"RELEASE {_SAVEPOINT}")

    def truncate_wal(self) -> None:
        """Empty the write-ahead log, which still contains deleted values: now, after the current transaction, or, while another connection reads the file, after a later one. Raises nothing."""
        with self._thread_lock:
            self._is_truncation_due = True
            if not self._is_in_block:
                self._truncate_wal_if_due()

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a statement. Raises StoreFull, StoreFailed."""
        with self._thread_lock:
            if self._is_in_block and not self._in_transaction:
                # Otherwise the rest of the block would be stored without its beginning.
                raise StoreFailed("The store rolled back this transaction after an error: start it again.")
            if not self._is_in_block and not statement.startswith(_OUTSIDE_TRANSACTION):
                with self.transaction():
                    return self._run(statement, *values)
            return self._run(statement, *values)

    @property
    def _in_transaction(self) -> bool:
        """Whether SQLite is in a transaction; a closed database, which raises, is not."""
        with suppress(sqlite3.ProgrammingError):
            return self._database.in_transaction
        return False

    @contextmanager
    def _top_level_transaction(self) -> Iterator[None]:
        if not self._is_sum_known:
            self._check_rows()
        before = self._sum.value
        try:
            self._is_in_block = True
            self._run("BEGIN IMMEDIATE")
            # From here on an exception can come at any line, KeyboardInterrupt too.
            self._is_sum_known = False
            yield
            if self._sum.value != before:
                self.execute("UPDATE proof SET sum = ?", self._sum.mac())
            self._run("COMMIT")
            self._is_sum_known = True
        except BaseException:
            if self._in_transaction:
                self._database.execute("ROLLBACK")
                self._sum.value = before
                self._is_sum_known = True
            raise
        finally:
            self._is_in_block = False

    def _run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        before = self._sum.value
        try:
            with _translated_errors(None):
                return self._database.execute(statement, values).fetchall()
        except BaseException:
            # SQLite rolls back the whole statement, whatever its triggers counted.
            self._sum.value = before
            raise

    def _truncate_wal_if_due(self) -> None:
        if not self._is_truncation_due:
            return
        # The transaction is committed whether or not the log can be emptied; there is no wait for a reader.
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA busy_timeout = 0")
            try:
                (is_busy, *_), *_ = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._is_truncation_due = bool(is_busy)
            finally:
                self._database.execute("PRAGMA busy_timeout = 5000")

    def _is_new(self) -> bool:
        """Whether the file is empty. Raises StoreLocked for a file of another version, which is left as it is."""
        [(version,)] = self.execute("PRAGMA user_version")
        is_new = version == 0 and not self.execute("SELECT 1 FROM sqlite_schema")
        if version != _VERSION and not is_new:
            raise StoreLocked(other_version_text(self.folder))
        for setting in _SETTINGS:
            self.execute(setting)
        return is_new

    def _create(self) -> None:
        """Create the tables, inside a transaction."""
        for statement in (*_SCHEMA, f"PRAGMA user_version = {_VERSION}"):
            self.execute(statement)
        self.execute("INSERT INTO proof (sum) VALUES (?)", self._sum.mac())

    def _install_triggers(self) -> None:
        """Keep the checksum up to date with every row that is written from now on."""
        for trigger in TRIGGERS:
            self.execute(trigger)

    def _check_rows(self) -> None:
        """Compute the checksum of all rows and compare it with the stored one. Raises StoreFailed."""
        schema = {sql for (sql,) in self.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
        if schema - {_SEQUENCE} != set(_SCHEMA):
            raise StoreFailed(_tampered_text(self.folder))
        self._sum.value = 0
        for statement in COUNT_STATEMENTS:
            self.execute(statement)
        stored = [sum_ for (sum_,) in self.execute("SELECT sum FROM proof") if isinstance(sum_, bytes)]
        if len(stored) != 1 or not hmac.compare_digest(stored[0], self._sum.mac()):
            raise StoreFailed(_tampered_text(self.folder))
        self._is_sum_known = True


def other_version_text(folder: Path) -> str:
    """The error text for a profile of another version."""
    return f"{folder} was made by an earlier version: move it away, then register or link again."


def _tampered_text(folder: Path) -> str:
    return (
        f"The store of {folder} was changed by another program than this client (rows restored, added or removed): "
        "move it away, then register or link again."
    )


#: The errors of the system when the disk is full or the quota is exhausted.
DISK_FULL_ERRNOS: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
#: The same from SQLite. All but the first are what a quota looks like.
_DISK_FULL_ERRORS: Final = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_SHMOPEN")


@contextmanager
def _translated_errors(folder: Path | None) -> Iterator[None]:
    """Turns errors of SQLite into one line. Raises StoreFull, StoreFailed."""
    try:
        yield
    except sqlite3.Error as failed:
        where = f" of {folder}" if folder else ""
        if getattr(failed, "sqlite_errorname", "") in _DISK_FULL_ERRORS:
            raise StoreFull(
                f"The disk{where} is full or your quota is exceeded. Stored data is intact, but nothing more can be saved: free disk space."
            ) from None
        raise StoreFailed(
            f"The store{where} cannot be used ({failed}; {getattr(failed, 'sqlite_errorname', '')})."
        ) from None


def lock_store(path: Path) -> IO[bytes]:
    """The lock of this store, held until it is closed; the folder is created when it is missing. Raises StoreLocked."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lock").open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StoreLocked(f"The profile {path.parent} is in use by another process: wait for it or stop it.") from None
    with suppress(OSError):
        # A waiting process sees that the owner has changed (api/profile_lock.py). A full disk does not matter here.
        file.truncate(0)
        file.write(f"{os.getpid()} {secrets.token_hex(4)}".encode())
    return file
