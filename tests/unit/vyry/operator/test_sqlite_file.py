"""A SQLite database as a file: what a crash left in its log is neither lost nor written over what was restored."""

import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from vyry.errors import CommandError, OperationRefused
from vyry.operator.sqlite_file import has_tables, refuse_open_sqlite, replace_sqlite, sqlite_snapshot


WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE IF NOT EXISTS word (text)")
database.execute("INSERT INTO word VALUES ('written last')")
print("written", flush=True)
sys.stdin.read()
"""


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the database open and idles, with its last transaction in the log; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def words(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [text for (text,) in database.execute("SELECT text FROM word")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vyry.db"


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    made = tmp_path / "restored.db"
    with closing(sqlite3.connect(made)) as database, database:
        database.execute("CREATE TABLE word (text)")
        database.execute("INSERT INTO word VALUES ('restored')")
    return made


def test_after_a_crash_the_log_goes_into_the_kept_copy_and_not_into_what_was_restored(
    path: Path, restored: Path
) -> None:
    with writer(path) as process:
        process.send_signal(signal.SIGKILL)
    assert path.with_name("vyry.db-wal").stat().st_size > 0

    assert replace_sqlite(restored, path, path.with_name("kept"))

    assert (words(path), words(path.with_name("kept"))) == (["restored"], ["written last"])
    assert sorted(each.name for each in path.parent.iterdir()) == ["kept", "vyry.db"]


def test_a_log_without_its_database_is_put_aside(path: Path, restored: Path) -> None:
    with writer(path) as process:
        process.send_signal(signal.SIGKILL)
    path.unlink()

    assert not replace_sqlite(restored, path, path.with_name("kept"))

    assert words(path) == ["restored"]
    assert path.with_name("kept-wal").exists()


def test_an_unreadable_database_is_kept_with_its_log(path: Path, restored: Path) -> None:
    path.write_bytes(b"this is no database" * 500)
    path.with_name("vyry.db-wal").write_bytes(b"a log")

    assert replace_sqlite(restored, path, path.with_name("kept"))

    assert words(path) == ["restored"]
    assert path.with_name("kept").read_bytes().startswith(b"this is no database")
    assert path.with_name("kept-wal").read_bytes() == b"a log"


def test_a_database_that_a_process_has_open_is_not_replaced(path: Path, restored: Path) -> None:
    with writer(path):
        with pytest.raises(OperationRefused, match="stop every process of Vyry first"):
            replace_sqlite(restored, path, path.with_name("kept"))
        with pytest.raises(OperationRefused):
            refuse_open_sqlite(path)

        assert words(path) == ["written last"]
    assert not path.with_name("kept").exists()


def test_a_database_that_nobody_uses_is_free(path: Path) -> None:
    refuse_open_sqlite(path)
    with writer(path) as process:
        process.send_signal(signal.SIGKILL)

    refuse_open_sqlite(path)


def test_a_snapshot_has_the_newest_transaction_of_a_running_process(path: Path) -> None:
    with writer(path), sqlite_snapshot(path) as copy:
        assert words(copy) == ["written last"]
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600

    assert not copy.exists()


def test_only_one_snapshot_is_made_at_a_time(path: Path, restored: Path) -> None:
    restored.rename(path)

    with sqlite_snapshot(path), pytest.raises(OperationRefused, match="Another backup"), sqlite_snapshot(path):
        pass


def test_a_damaged_database_gives_no_snapshot(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE word (text)")
        database.executemany("INSERT INTO word VALUES (?)", [("x" * 500,)] * 500)
    content = bytearray(path.read_bytes())
    content[8192:12288] = bytes(4096)
    path.write_bytes(content)

    with pytest.raises(CommandError, match="damaged"), sqlite_snapshot(path):
        pass

    assert [each.name for each in path.parent.iterdir() if "snapshot" in each.name] == []


def test_a_file_that_is_no_database_counts_as_something(path: Path, restored: Path) -> None:
    assert not has_tables(path)
    assert has_tables(restored)
    path.write_bytes(b"this is no database" * 500)
    assert has_tables(path)
