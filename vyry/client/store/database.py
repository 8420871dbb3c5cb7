"""The SQLite file under a store: transactions and parts of them, a log without deleted values, and rows that nothing else has changed."""

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


#: `user_version` of the file; versions before had 0 and other keys.
_VERSION: Final = 1
_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    # What is deleted is overwritten with zeros in the file, and does not stay in the log once that was taken over.
    "PRAGMA secure_delete = ON",
    "PRAGMA journal_size_limit = 0",
    # Pages of a savepoint do not go into a temporary file.
    "PRAGMA temp_store = MEMORY",
    # INSERT OR REPLACE runs the triggers of the row it deletes.
    "PRAGMA recursive_triggers = ON",
    # What the file says of itself calls no function of ours.
    "PRAGMA trusted_schema = OFF",
)
_SCHEMA: Final = (
    "CREATE TABLE value (kind TEXT NOT NULL, name BLOB NOT NULL, until INTEGER, sealed BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID",
    "CREATE INDEX value_until ON value (until) WHERE until IS NOT NULL",
    # `is_taken` and `ends_at` are not sealed, because SQLite looks for them. The sum over the rows covers what waits and what ends: changed while the store was closed (an event shown again, never
    # shown, kept beyond its time), the store does not open.
    "CREATE TABLE event (id INTEGER PRIMARY KEY AUTOINCREMENT, is_taken INTEGER NOT NULL DEFAULT 0, place BLOB, ends_at INTEGER, sealed BLOB NOT NULL)",
    "CREATE INDEX event_waiting ON event (id) WHERE is_taken = 0",
    "CREATE INDEX event_place ON event (place, id) WHERE place IS NOT NULL",
    "CREATE INDEX event_end ON event (ends_at) WHERE ends_at IS NOT NULL",
    "CREATE TABLE proof (sum BLOB NOT NULL)",
)
#: SQLite's own, made by AUTOINCREMENT.
_SEQUENCE: Final = "CREATE TABLE sqlite_sequence(name,seq)"
#: Every other statement is part of a transaction, which keeps the sum over the rows.
_READS: Final = ("SELECT", "PRAGMA", "CREATE TEMP TRIGGER")
#: A savepoint inside another has the same name: SQLite takes the innermost.
_ATTEMPT: Final = "attempt"


class Database:
    """One open file. It belongs to one process, and inside it to one caller at a time."""

    def __init__(self, path: Path, lock: IO[bytes], row_sum: RowChecksum) -> None:
        """Open the file; `lock` is held until it is closed. Raises StoreLocked, StoreFull, StoreFailed."""
        self.folder: Final = path.parent
        self._lock = lock
        #: Whoever is inside a transaction is alone: nobody sees what may still be undone.
        self._thread_lock = threading.RLock()
        self._is_in_block = False
        self._is_truncation_due = False
        self._sum: Final = row_sum
        #: False while it may differ from what the file holds; it is counted again then.
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
        """Let go of the file, once the act that is under way in another thread is over."""
        with self._thread_lock:
            self._is_truncation_due = True
            self._truncate_wal_if_due()
            self._database.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is put and deleted inside is there afterwards, or, when the block fails, nothing of it. Raises StoreFull, StoreFailed."""
        with self._thread_lock:
            if self._is_in_block:
                # A part of the act around it: it stands and falls with that.
                yield
                return
            with self._top_level_transaction():
                yield
            self._truncate_wal_if_due()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Part of a transaction that can fail alone: an error of the block undoes what was done inside it, and the caller that catches it goes on.

        Outside a transaction it is one. Raises StoreFull, StoreFailed, after which the whole transaction is to be given up: SQLite may have undone it.
        """
        with self.transaction():
            before = self._sum.value
            self._run(f"SAVEPOINT {_ATTEMPT}")
            try:
                yield
            except BaseException:
                if self._in_transaction:
                    self._run(f"ROLLBACK TO {_ATTEMPT}")
                    self._run(f"RELEASE {_ATTEMPT}")
                    self._sum.value = before
                raise
            self._run(f"RELEASE {_ATTEMPT}")

    def truncate_wal(self) -> None:
        """Empty the write-ahead log, where deleted values stand on: now, or after the transaction that this is called in, or, while something else reads the file, after a later one. Raises nothing."""
        with self._thread_lock:
            self._is_truncation_due = True
            if not self._is_in_block:
                self._truncate_wal_if_due()

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement answers. Raises StoreFull, StoreFailed."""
        with self._thread_lock:
            if self._is_in_block and not self._in_transaction:
                # Otherwise the rest of the block would be kept without its beginning.
                raise StoreFailed("The store has undone this transaction after an error: begin it again.")
            if not self._is_in_block and not statement.startswith(_READS):
                with self.transaction():
                    return self._run(statement, *values)
            return self._run(statement, *values)

    @property
    def _in_transaction(self) -> bool:
        """Whether SQLite is in one; a closed database, which raises at the question, is not."""
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
            # From here to the end an exception can come at any line, KeyboardInterrupt too.
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
            # SQLite undoes the whole statement, whatever its triggers counted.
            self._sum.value = before
            raise

    def _truncate_wal_if_due(self) -> None:
        if not self._is_truncation_due:
            return
        # What was committed is committed, whether or not the log can be emptied after it; a reader is not waited for.
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA busy_timeout = 0")
            try:
                (is_busy, *_), *_ = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._is_truncation_due = bool(is_busy)
            finally:
                self._database.execute("PRAGMA busy_timeout = 5000")

    def _is_new(self) -> bool:
        """Whether nothing is in the file yet. Raises StoreLocked for one of another version, which is left as it is."""
        [(version,)] = self.execute("PRAGMA user_version")
        is_new = version == 0 and not self.execute("SELECT 1 FROM sqlite_schema")
        if version != _VERSION and not is_new:
            raise StoreLocked(other_version_text(self.folder))
        for setting in _SETTINGS:
            self.execute(setting)
        return is_new

    def _create(self) -> None:
        """Make the tables, inside a transaction."""
        for statement in (*_SCHEMA, f"PRAGMA user_version = {_VERSION}"):
            self.execute(statement)
        self.execute("INSERT INTO proof (sum) VALUES (?)", self._sum.mac())

    def _install_triggers(self) -> None:
        """Count every row that is written from now on."""
        for trigger in TRIGGERS:
            self.execute(trigger)

    def _check_rows(self) -> None:
        """Count all rows, and compare the sum with what was written with the last change. Raises StoreFailed."""
        schema = {sql for (sql,) in self.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
        if schema - {_SEQUENCE} != set(_SCHEMA):
            raise StoreFailed(_tampered_text(self.folder))
        self._sum.value = 0
        for statement in COUNT_STATEMENTS:
            self.execute(statement)
        kept = [sum_ for (sum_,) in self.execute("SELECT sum FROM proof") if isinstance(sum_, bytes)]
        if len(kept) != 1 or not hmac.compare_digest(kept[0], self._sum.mac()):
            raise StoreFailed(_tampered_text(self.folder))
        self._is_sum_known = True


def other_version_text(folder: Path) -> str:
    """What is said of a profile of another version: it is left as it is."""
    return f"{folder} was made by an earlier version: move it away, then register or link again."


def _tampered_text(folder: Path) -> str:
    return (
        f"The store of {folder} was changed by something else than this client (values put back, added or removed): "
        "move it away, then register or link again."
    )


#: What the system says when no more can be written: a full disk, or a quota.
DISK_FULL_ERRNOS: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
#: The same from SQLite. All but the first are what a quota looks like.
_NO_ROOM: Final = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_SHMOPEN")


@contextmanager
def _translated_errors(folder: Path | None) -> Iterator[None]:
    """What SQLite says about the file, in one clear line."""
    try:
        yield
    except sqlite3.Error as failed:
        where = f" of {folder}" if folder else ""
        if getattr(failed, "sqlite_errorname", "") in _NO_ROOM:
            raise StoreFull(
                f"The disk{where} is full, or takes no more of you: what is kept is whole, but nothing more can be kept."
            ) from None
        raise StoreFailed(
            f"The store{where} cannot be used ({failed}; {getattr(failed, 'sqlite_errorname', '')})."
        ) from None


def lock_store(path: Path) -> IO[bytes]:
    """The lock of this store, held until it is closed; the folder is made when it is not there. Raises StoreLocked."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lock").open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StoreLocked(f"Another process works with {path.parent}.") from None
    with suppress(OSError):
        # Whoever waits sees that another one has the turn (turns.py). A full disk does not matter here.
        file.truncate(0)
        file.write(f"{os.getpid()} {secrets.token_hex(4)}".encode())
    return file
