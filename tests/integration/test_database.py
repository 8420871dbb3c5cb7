"""The database as the account adapters have it: never waited for longer than 5 s, never poisoned, back by itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tortoise.exceptions import OperationalError
from tortoise.transactions import in_transaction

from scripts.services import Postgres
from tests.support.frozen_server import freeze_server
from vyry.errors import Unavailable
from vyry.storage.database import connection, database_guard, open_database, transaction
from vyry.storage.tortoise_sqlite import split_statements


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[None]:
    async with open_database(url):
        async with transaction() as here:
            await here.execute_query("CREATE TABLE IF NOT EXISTS noted (id INT)")
            await here.execute_query("DELETE FROM noted")
        yield


async def numbers() -> list[int]:
    async with database_guard():
        return [row["id"] for row in await connection().execute_query_dict("SELECT id FROM noted ORDER BY id")]


async def note(number: int) -> None:
    async with transaction() as here:
        await here.execute_query(f"INSERT INTO noted VALUES ({number})")


async def back(within: float) -> None:
    """Wait until the database answers again."""
    async with asyncio.timeout(within):
        while True:
            try:
                await numbers()
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture(params=["postgres", "sqlite"])
def url(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> str:
    return postgres.url if request.param == "postgres" else f"sqlite://{tmp_path / 'vyry.db'}"


async def test_what_raises_is_rolled_back(url: str) -> None:
    async with opened(url):
        with suppress(LookupError):
            async with transaction() as here:
                await here.execute_query("INSERT INTO noted VALUES (1)")
                raise LookupError

        assert await numbers() == []


async def test_many_transactions_at_once_all_commit(url: str) -> None:
    async with opened(url):
        await asyncio.gather(*(note(number) for number in range(60)))

        assert await numbers() == list(range(60))


async def test_a_table_that_a_migration_will_add_is_an_outage(postgres: Postgres) -> None:
    async with opened(postgres.url):
        with pytest.raises(Unavailable, match="not migrated"):
            async with database_guard():
                await connection().execute_query("SELECT 1 FROM mailbox")


@pytest.fixture(params=["postgres_url", "sqlite_url"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


async def test_a_wrong_statement_is_our_fault_and_not_called_an_outage(migrated_url: str) -> None:
    async with opened(migrated_url):
        with pytest.raises(OperationalError):
            async with database_guard():
                await connection().execute_query("SELECT nothing FROM nowhere")


async def test_a_cancelled_transaction_leaves_nothing_behind_and_the_next_one_works(url: str) -> None:
    async with opened(url):
        for moment in range(12):
            task = asyncio.ensure_future(note(moment))
            for _ in range(moment):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

        await note(99)
        found = await numbers()

    assert found[-1] == 99
    assert len(found) == len(set(found))


async def test_nested_transactions_are_savepoints(url: str) -> None:
    async with opened(url):
        async with transaction() as outer:
            await outer.execute_query("INSERT INTO noted VALUES (1)")
            with suppress(LookupError):
                async with in_transaction("default") as inner:
                    await inner.execute_query("INSERT INTO noted VALUES (2)")
                    raise LookupError

        assert await numbers() == [1]


async def test_a_database_that_is_down_is_told_at_once_and_found_again(postgres: Postgres) -> None:
    async with opened(postgres.url):
        await asyncio.gather(*(note(number) for number in range(10)))
        await asyncio.to_thread(postgres.kill)
        began = time.monotonic()

        refused = await asyncio.gather(*(note(number) for number in range(100, 130)), return_exceptions=True)

        took = time.monotonic() - began
        await asyncio.to_thread(postgres.start)
        await back(within=5)
        await asyncio.gather(*(note(number) for number in range(10, 40)))
        assert all(isinstance(each, Unavailable) for each in refused)
        assert took < 5
        assert await numbers() == list(range(40))


async def test_a_database_that_stands_still_is_told_within_five_seconds_and_used_again(postgres: Postgres) -> None:
    async with opened(postgres.url):
        await asyncio.gather(*(note(number) for number in range(10)))

        with freeze_server(postgres):
            began = time.monotonic()
            refused = await asyncio.gather(*(note(number) for number in range(100, 130)), return_exceptions=True)
            took = time.monotonic() - began

        await back(within=5)
        await note(50)
        assert all(isinstance(each, Unavailable) for each in refused)
        assert took < 5
        assert (await numbers())[9:].count(50) == 1


async def test_it_opens_while_postgres_is_away(postgres: Postgres) -> None:
    await asyncio.to_thread(postgres.kill)

    async with open_database(postgres.url):
        with pytest.raises(Unavailable):
            await numbers()
        await asyncio.to_thread(postgres.start)
        async with database_guard():
            assert await connection().execute_query_dict("SELECT 1 AS one") == [{"one": 1}]


async def test_a_full_pool_is_told_within_five_seconds(postgres: Postgres) -> None:
    async with opened(postgres.url):
        free = asyncio.Event()
        started = asyncio.Semaphore(0)

        async def occupy() -> None:
            async with in_transaction("default"):
                started.release()
                await free.wait()

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(occupy())
            for _ in range(10):
                await started.acquire()
            with pytest.raises(Unavailable):
                await note(1)
            free.set()
        await note(2)

        assert await numbers() == [2]


async def test_another_writer_on_the_file_is_waited_for(tmp_path: Path) -> None:
    async with opened(f"sqlite://{tmp_path / 'vyry.db'}"):
        other = await asyncio.create_subprocess_exec(
            "python3",
            "-c",
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
            "print(flush=True); sys.stdin.read(); c.execute('INSERT INTO noted VALUES (1)'); c.execute('COMMIT')",
            str(tmp_path / "vyry.db"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert other.stdout
        await other.stdout.readline()

        ours = asyncio.ensure_future(note(2))
        await asyncio.sleep(0.1)
        await other.communicate(b"")
        await ours

        assert await numbers() == [1, 2]


def test_a_script_is_cut_at_the_ends_of_statements_only() -> None:
    script = "CREATE TABLE a (b TEXT /* one; two */ DEFAULT ';');\n-- three; four\nCREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END;\n SELECT 1"

    assert [each.split()[0] for each in split_statements(script)] == ["CREATE", "--", "SELECT"]
