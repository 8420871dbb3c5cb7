"""The thread that runs SQLite jobs: one transaction for all that wait, a failing one apart, and a file that is away is Unavailable."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from vyry.errors import Unavailable
from vyry.storage.mail_sqlite import thread as sqlite_thread
from vyry.storage.mail_sqlite.thread import SqliteThread, open_thread


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "notes.db") as connection:
        connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)")
    connection.close()
    return tmp_path / "notes.db"


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[SqliteThread]:
    async with open_thread(path, "BEGIN IMMEDIATE") as thread:
        yield thread


@pytest.fixture
async def reader(path: Path, writer: SqliteThread) -> AsyncIterator[SqliteThread]:
    async with open_thread(path, "BEGIN") as thread:
        yield thread


def note(text: str) -> Callable[[sqlite3.Connection], int]:
    """A job that writes one row."""
    return lambda connection: connection.execute("INSERT INTO note (text) VALUES (?)", [text]).rowcount


def texts(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY id")]


def hold(thread: SqliteThread, entered: threading.Event, gate: threading.Event) -> asyncio.Future[bool]:
    """Keep the thread busy inside a transaction until the gate opens."""

    def wait(_: sqlite3.Connection) -> bool:
        entered.set()
        return gate.wait(10)

    return asyncio.gather(thread.run(wait), return_exceptions=True)  # type: ignore[return-value]


async def test_a_result_is_told_after_it_can_be_read_elsewhere(writer: SqliteThread, reader: SqliteThread) -> None:
    for n in range(20):
        await writer.run(note(f"note {n}"))

        assert len(await reader.run(texts)) == n + 1


async def test_jobs_that_wait_together_share_a_transaction(writer: SqliteThread) -> None:
    entered, gate = threading.Event(), threading.Event()
    begun: list[str] = []
    await writer.run(lambda connection: connection.set_trace_callback(begun.append))
    first = hold(writer, entered, gate)
    await asyncio.to_thread(entered.wait)
    waiting = [asyncio.gather(writer.run(note(f"{n}"))) for n in range(10)]
    await asyncio.sleep(0)

    gate.set()
    await asyncio.gather(first, *waiting)

    assert begun.count("BEGIN IMMEDIATE") == 2
    assert len(await writer.run(texts)) == 10


async def test_a_failing_job_is_undone_alone(writer: SqliteThread) -> None:
    def write_and_fail(connection: sqlite3.Connection) -> None:
        note("half")(connection)
        raise ValueError("half done")

    answers = await asyncio.gather(
        writer.run(note("one")),
        writer.run(write_and_fail),
        writer.run(note("one")),
        writer.run(note("two")),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [int, ValueError, sqlite3.IntegrityError, int]
    assert await writer.run(texts) == ["one", "two"]


async def test_a_wrong_statement_is_a_fault_and_not_an_outage(writer: SqliteThread) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await writer.run(lambda connection: connection.execute("SELECT * FROM letters"))


async def test_the_reader_cannot_write(reader: SqliteThread) -> None:
    with pytest.raises(Unavailable):
        await reader.run(note("no"))


async def test_a_locked_file_is_unavailable_and_works_again_afterwards(
    path: Path, writer: SqliteThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.run(lambda connection: connection.execute("PRAGMA busy_timeout = 50").fetchall())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable):
        await writer.run(note("one"))
    other.execute("ROLLBACK")
    other.close()

    assert await writer.run(note("two")) == 1


async def test_a_full_disk_is_unavailable_and_works_again_with_space(writer: SqliteThread) -> None:
    (pages,) = await writer.run(lambda connection: connection.execute("PRAGMA page_count").fetchone())
    await writer.run(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall())

    answers = await asyncio.gather(writer.run(note("small")), writer.run(note("x" * 100_000)), return_exceptions=True)
    await writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchall())

    assert isinstance(answers[1], Unavailable)
    assert await writer.run(note("x" * 100_000)) == 1
    assert ("small" in await writer.run(texts)) == (answers[0] == 1)


async def test_a_caller_who_left_before_its_turn_costs_nothing(writer: SqliteThread) -> None:
    entered, gate = threading.Event(), threading.Event()
    first = hold(writer, entered, gate)
    await asyncio.to_thread(entered.wait)
    left = asyncio.gather(writer.run(note("never")), return_exceptions=True)
    await asyncio.sleep(0)

    left.cancel()
    await asyncio.wait([left])
    gate.set()
    await first

    assert await writer.run(texts) == []


async def test_nobody_waits_longer_than_promised(writer: SqliteThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_thread, "TIMEOUT_SECONDS", 0.05)
    entered, gate = threading.Event(), threading.Event()
    first = hold(writer, entered, gate)
    await asyncio.to_thread(entered.wait)

    with pytest.raises(Unavailable):
        await writer.run(texts)

    gate.set()
    await first


async def test_what_waits_at_the_end_is_still_done(path: Path) -> None:
    async with open_thread(path, "BEGIN IMMEDIATE") as thread:
        waiting = asyncio.gather(*(thread.run(note(f"{n}")) for n in range(5)))
        await asyncio.sleep(0)

    assert await waiting == [1] * 5
