"""A SQLite database as a file: a copy of a running one, and the replacement of one that nobody uses.

While a process has a database open, its newest transactions are in `NAME-wal`, and after a crash they stay there. A file put in the place of the database
would be overwritten from that log. So the log is first written into its own database, which also proves that no process has it open.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from vyry.errors import CommandError, OperationRefused
from vyry.kernel.atomic_files import sync_folder


#: How long another process may have the file locked, such as `vyry check`.
_BUSY_SECONDS: Final = 2.0
_LOGS: Final = ("-wal", "-shm", "-journal")
IN_USE: Final = "A node, or another command, has the database {} open: stop every process of Vyry first."


@contextmanager
def sqlite_snapshot(path: Path) -> Iterator[Path]:
    """A checked copy of the database as it is now, deleted at the end of the block. Writers of the database continue. Raises CommandError, OperationRefused."""
    copy = path.with_name(f"{path.name}.snapshot")
    with path.with_name(f"{path.name}.backing-up").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperationRefused("Another backup of this database is running: wait for its end.") from None
        with open_private(copy):
            pass
        try:
            with closing(_open(path, "rw")) as source, closing(_open(copy, "rw")) as target:
                target.execute("PRAGMA synchronous = OFF")
                # In one step: a copy in several steps starts again whenever another process writes.
                source.backup(target, pages=-1)
            check_sqlite(copy)
            yield copy
        except sqlite3.DatabaseError as problem:
            raise CommandError(f"The database {path} cannot be copied: {problem}.") from None
        finally:
            copy.unlink(missing_ok=True)


def check_sqlite(path: Path) -> None:
    """Raises CommandError when the database is damaged."""
    try:
        with closing(_open(path, "rw")) as database:
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as problem:
        found = str(problem)
    if found != "ok":
        raise CommandError(f"The database {path} is damaged ({' '.join(found.split())}): restore an earlier backup.")


def has_tables(path: Path) -> bool:
    """Whether there is anything in the database; a file that is no database counts as something."""
    if not path.exists():
        return False
    try:
        with closing(_open(path, "ro")) as database:
            return bool(database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone())
    except sqlite3.DatabaseError:
        return True


def refuse_open_sqlite(path: Path) -> None:
    """Raises OperationRefused while another process has the database open."""
    if path.exists():
        with _alone(path):
            pass


def replace_sqlite(new: Path, path: Path, kept: Path) -> bool:
    """Put `new` in the place of the database, in one step; returns whether there was one, which is kept under that name with all that its log had. Raises OperationRefused."""
    is_kept = path.exists()
    if not is_kept:
        _move_logs(path, kept)
        new.replace(path)
    else:
        with _alone(path) as is_readable:
            if not is_readable:
                # Nothing can write its log into it, so the two stay together.
                _move_logs(path, kept)
            os.link(path, kept)
            new.replace(path)
    sync_folder(path.parent)
    return is_kept


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold the database alone, without logs; yields False for a file that is no readable database. Raises OperationRefused."""
    with closing(_open(path, "rw")) as database:
        try:
            # Leaving WAL is possible for the only connection alone.
            is_free = database.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete"
            if is_free:
                database.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorname not in ("SQLITE_BUSY", "SQLITE_LOCKED"):
                raise
            is_free = False
        except sqlite3.DatabaseError:
            yield False
            return
        if not is_free:
            raise OperationRefused(IN_USE.format(path))
        yield True


def _move_logs(path: Path, kept: Path) -> None:
    for log in _LOGS:
        found = path.with_name(path.name + log)
        if found.exists():
            found.replace(kept.with_name(kept.name + log))


@contextmanager
def open_private(path: Path) -> Iterator[BinaryIO]:
    """A new file of mode 0600, without logs of an earlier one; it is on disk when the block ends."""
    for name in (path, *(path.with_name(path.name + log) for log in _LOGS)):
        name.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
