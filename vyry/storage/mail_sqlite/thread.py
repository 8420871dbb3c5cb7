"""A SQLite connection in a thread of its own: all waiting jobs run in one transaction, and results are returned after its commit.

While one batch commits, the next one collects, so many callers share one fsync. A job that fails is rolled back alone.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, Literal, TypeVar

from vyry.errors import Unavailable
from vyry.storage.database import is_sqlite_outage


T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
#: The start of a batch that reads one snapshot, or of one that writes.
BeginStatement = Literal["BEGIN", "BEGIN IMMEDIATE"]

#: The time-out of a caller; after it the job may still be done.
TIMEOUT_SECONDS: Final = 5.0
_BUSY_MILLISECONDS: Final = 4000
#: Deleted contents are overwritten as far as a file system allows. With a longer log there are fewer checkpoints: mail that is deleted between two of them
#: is never written to the file.
_WRITER: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "wal_autocheckpoint = 4000",
    "journal_size_limit = 67108864",
)
_READER: Final = ("query_only = ON",)
_COMMON_PRAGMAS: Final = (f"busy_timeout = {_BUSY_MILLISECONDS}", "cache_size = -16384", "temp_store = MEMORY")


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    answer: asyncio.Future[Any]
    result: object = None
    failure: Exception | None = None


class SqliteThread:
    """Runs jobs in batches on one connection."""

    def __init__(self, connection: sqlite3.Connection, begin: BeginStatement) -> None:
        self._connection = connection
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._run_loop, name="vyry-mail", daemon=True)

    async def run(self, work: Work[T]) -> T:
        """Returns what `work` returns, after the commit. Raises what it raises, or Unavailable."""
        job = _Job(work, self._loop.create_future())
        self._jobs.put(job)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                result: T = await job.answer
                return result
        except TimeoutError as error:
            raise Unavailable("The database is overloaded; retry.") from error

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the waiting jobs and stop the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run_loop(self) -> None:
        is_open = True
        while is_open:
            batch = [job for job in self._drain_jobs() if job is None or not job.answer.cancelled()]
            is_open = None not in batch
            jobs = [job for job in batch if job is not None]
            if jobs:
                self._run_batch(jobs)
                self._loop.call_soon_threadsafe(_set_results, jobs)
        self._connection.close()

    def _drain_jobs(self) -> list[_Job | None]:
        """All waiting jobs; blocks until there is one."""
        batch = [self._jobs.get()]
        try:
            while True:
                batch.append(self._jobs.get_nowait())
        except Empty:
            return batch

    def _run_batch(self, jobs: list[_Job]) -> None:
        try:
            self._connection.execute(self._begin)
            for job in jobs:
                _run_job(self._connection, job)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the callers get any error, and the thread continues
            for job in jobs:
                job.failure = job.failure or error
            with suppress(sqlite3.Error):
                self._connection.rollback()


@asynccontextmanager
async def open_thread(path: Path, begin: BeginStatement) -> AsyncIterator[SqliteThread]:
    """A running thread; at the end of the block its waiting jobs are finished first."""
    thread = SqliteThread(await asyncio.to_thread(_connect, path, begin), begin)
    thread.start()
    try:
        yield thread
    finally:
        await asyncio.to_thread(thread.stop)


def _connect(path: Path, begin: BeginStatement) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in (*(_READER if begin == "BEGIN" else _WRITER), *_COMMON_PRAGMAS):
        connection.execute(f"PRAGMA {pragma}").fetchall()  # nosemgrep: sql-only-from-constants - of the constants above
    return connection


def _run_job(connection: sqlite3.Connection, job: _Job) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(connection)
    except Exception as failure:
        if not connection.in_transaction:
            # A full or failing disk makes SQLite roll back the whole transaction: the whole batch failed.
            raise
        job.failure = failure
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")


def _set_results(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.answer.done():
            continue
        if job.failure is None:
            job.answer.set_result(job.result)
        else:
            job.answer.set_exception(_translate_error(job.failure))


def _translate_error(failure: Exception) -> Exception:
    if not (isinstance(failure, sqlite3.Error) and is_sqlite_outage(failure)):
        return failure
    refusal = Unavailable("The database is overloaded; retry.")
    refusal.__cause__ = failure
    return refusal
