"""The schema: from nothing, by several at once, over a crash, one step back, and equal to the rows."""

import asyncio
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import asyncpg
import pytest
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.context import TortoiseContext
from tortoise.utils import generate_schema_for_client

from scripts.services import Postgres
from tests.support.databases import database_url, temporary_database
from tests.support.operator_node import OperatorNode
from tests.support.paths import ROOT
from vyry.errors import SchemaTooOld, Unavailable
from vyry.storage.database import connection, open_database, tortoise_config
from vyry.storage.migrator import CONTRACT, applied_migrations, migrate, pending_migrations, rollback


MIGRATIONS = sorted(path for path in (ROOT / "migrations").glob("[0-9]*.py"))
NAMES = [path.stem for path in MIGRATIONS]
MIGRATE = (
    "import asyncio, sys; from vyry.storage.migrator import migrate; print(len(asyncio.run(migrate(sys.argv[1]))))"
)
#: What an older release does not survive.
TAKES_AWAY = re.compile(
    r"\bDROP\s+(TABLE|COLUMN|VIEW)\b|\bRENAME\b|\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b|\bSET\s+NOT\s+NULL\b|\bTRUNCATE\b",
    re.IGNORECASE,
)
#: The columns, then the keys and unique sets, of every table.
COLUMNS = {
    "postgres": """
        SELECT table_name AS of_table, column_name || ' ' || data_type || coalesce('(' || character_maximum_length || ')', '') AS name, is_nullable AS is_null,
          coalesce(column_default, '') AS value FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT c.conrelid::regclass::text, pg_get_constraintdef(c.oid), c.conname, '' FROM pg_constraint c
          WHERE c.contype IN ('p', 'u') AND c.connamespace = 'public'::regnamespace
        UNION ALL SELECT tablename, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public' AND indexname LIKE 'idx%'""",
    "sqlite": """
        SELECT m.name AS of_table, c.name || ' ' || c.type AS name, CAST(c."notnull" AS TEXT) || c.pk AS is_null, coalesce(c.dflt_value, '') AS value
          FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'
        UNION ALL SELECT m.name, (SELECT group_concat(k.name) FROM pragma_index_info(i.name) k), CAST(i."unique" AS TEXT), i.origin
          FROM sqlite_master m, pragma_index_list(m.name) i WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND i.partial = 0""",
}


@pytest.fixture(params=["postgres", "sqlite"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite://{tmp_path / 'vyry.db'}"
    return database_url(request.getfixturevalue("empty_database"))


@pytest.fixture
def second_url(empty_url: str, tmp_path: Path) -> Iterator[str]:
    if empty_url.startswith("sqlite"):
        yield f"sqlite://{tmp_path / 'second.db'}"
        return
    with temporary_database("second") as name:
        yield database_url(name)


@pytest.fixture
def empty_database() -> object:
    with temporary_database("empty") as name:
        yield name


async def run(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MIGRATE, *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


async def test_from_nothing_to_the_newest_and_back_step_by_step(empty_url: str) -> None:
    told: list[str] = []

    first, again = await migrate(empty_url, told.append), await migrate(empty_url)
    undone = [await rollback(empty_url) for _ in range(len(NAMES) + 1)]

    assert (first, told, again) == (NAMES, NAMES, [])
    assert undone == [*reversed(NAMES), None]
    assert await pending_migrations(empty_url) == NAMES
    assert await migrate(empty_url) == NAMES


async def test_twelve_that_start_at_once_apply_each_migration_once(empty_url: str) -> None:
    counts = await asyncio.gather(*(run(empty_url) for _ in range(12)))

    assert sorted(counts) == sorted([str(len(NAMES)), *["0"] * 11])
    assert await applied_migrations(empty_url) == NAMES


def test_a_node_refuses_a_database_that_was_not_migrated(empty_database: str) -> None:
    variables = {
        "DATABASE_URL": database_url(empty_database),
        "REDIS_URL": "redis://127.0.0.1:1",
        "KAFKA_URL": "kafka://127.0.0.1:1",
        "VYRY_ENV": "development",
    }

    done = subprocess.run(
        [sys.executable, "-m", "vyry.cli.main", "worker"],
        env={"PATH": "/usr/bin", **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    *log_lines, line = done.stderr.splitlines()
    assert (done.returncode, line) == (
        1,
        f"vyry: Migrations not applied: {', '.join(NAMES)}. Run `vyry migrate` first.",
    )
    assert [json.loads(each)["event"] for each in log_lines] == ["starting"]


@pytest.mark.parametrize("words", [["start"], ["migrate"], ["check"], ["rollback", "--yes"]], ids=" ".join)
async def test_a_schema_that_lost_what_this_release_needs_is_refused_in_one_line(
    tmp_path: Path, words: list[str]
) -> None:
    await migrate(f"sqlite://{tmp_path / 'vyry.db'}")
    with closing(sqlite3.connect(tmp_path / "vyry.db")) as file, file:
        file.execute(
            "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('vyry', '9999_contract_later', '2030-01-01')"
        )
    before = (tmp_path / "vyry.db").read_bytes()

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "vyry.cli.main", *words],
        env={"PATH": "/usr/bin", "VYRY_DATA_DIR": str(tmp_path), "SERVER_PORT": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    told = [line for line in (done.stdout + done.stderr).splitlines() if "9999_contract_later" in line]
    assert (done.returncode, len(told)) == (1, 1)
    assert "newer release of Vyry" in told[0]
    assert (tmp_path / "vyry.db").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["migrate"], 0, "The schema has 9999_later of a newer release. This release runs on it."),
        (["check"], 0, "9999_later of a newer release; this release runs on that schema."),
        (["audit"], 0, ""),
        (["rollback", "--yes"], 1, "The newest migration, 9999_later, is of a newer release of Vyry, and only that"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_schema_that_a_newer_release_only_expanded_is_used(
    empty_url: str, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    await migrate(empty_url)
    async with opened(empty_url) as database:
        await database.execute_query(
            "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('vyry', '9999_later', '2030-01-01')"
        )
    node = OperatorNode(empty_url, tmp_path, {})

    done = await asyncio.to_thread(node.run, *words)

    assert (done.code, said in done.out + done.err) == (code, True), done
    assert "9999_later" in await applied_migrations(empty_url)


async def test_a_rollback_keeps_a_copy_and_waits_for_the_end_of_all_nodes(empty_url: str, tmp_path: Path) -> None:
    node = OperatorNode(empty_url, tmp_path, {})
    assert (await asyncio.to_thread(node.run, "migrate")).code == 0
    async with open_database(empty_url):
        # A connection is opened by the first statement.
        await connection().execute_query("SELECT 1")
        refused = await asyncio.to_thread(node.run, "rollback", "--yes")
    applied = await applied_migrations(empty_url)

    done = await asyncio.to_thread(node.run, "rollback", "--yes")

    copy = done.out.partition("copy: ")[2].splitlines()[0]
    assert (refused.code, "stop every process of Vyry first" in refused.err, applied) == (3, True, NAMES)
    assert (done.code, await applied_migrations(empty_url)) == (0, NAMES[:-1])
    start = b"SQLit" if empty_url.startswith("sqlite") else b"PGDMP"
    assert look_at(Path(copy)) == (0o600, tmp_path, start)


def look_at(copy: Path) -> tuple[int, Path, bytes]:
    """Mode, folder and first bytes."""
    return stat.S_IMODE(copy.stat().st_mode), copy.parent, copy.read_bytes()[:5]


def test_a_step_after_the_first_only_adds_unless_its_name_says_contract() -> None:
    steps = [path for path in (ROOT / "migrations").glob("[0-9]*.sql") if not path.name.startswith("0001")]
    names = {path.name[:4]: path.stem for path in MIGRATIONS}

    taking = [path.name for path in steps if TAKES_AWAY.search(path.read_text()) and "_drop" not in path.name]

    assert [name for name in taking if CONTRACT not in names[name[:4]]] == []


async def test_looking_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path / 'vyry.db'}"

    assert await pending_migrations(url) == NAMES
    assert await applied_migrations(url) == []
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tortoise.migrations.recorder import MigrationRecorder  # noqa: PLC0415  patched here only

    async def crash(*_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(MigrationRecorder, "record_applied", crash)
        with pytest.raises(Unavailable):
            await migrate(empty_url)

    assert await migrate(empty_url) == NAMES


async def test_a_file_with_data_is_copied_before_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "vyry.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript("CREATE TABLE precious (word); INSERT INTO precious VALUES ('kept')")

    await migrate(f"sqlite://{path}")

    with closing(sqlite3.connect(f"{path}.before-{NAMES[0]}")) as copy:
        assert copy.execute("SELECT word FROM precious").fetchall() == [("kept",)]


async def test_a_database_that_is_away_is_unavailable() -> None:
    with Postgres() as postgres:
        url = postgres.url
    for act in (migrate, rollback, pending_migrations):
        with pytest.raises(Unavailable):
            await act(url)


async def test_the_migrations_make_exactly_the_tables_of_the_models(empty_url: str, second_url: str) -> None:
    await migrate(empty_url)
    async with opened(empty_url) as connection:
        migrated = await shapes(connection)
    async with opened(second_url) as connection:
        await generate_schema_for_client(connection, safe=False)
        of_models = await shapes(connection)

    assert {
        table: (shape ^ migrated.get(table, set()))
        for table, shape in of_models.items()
        if shape != migrated.get(table)
    } == {}


async def test_postgres_has_no_index_that_is_invalid_and_no_table_without_key(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
        assert {row["tablename"] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")} > {
            "account", "device", "mailbox", "message", "envelope", "content", "fate",
        }  # fmt: skip
    finally:
        await connection.close()


async def test_a_database_of_before_1_0_is_refused_with_a_clear_line(empty_url: str) -> None:
    await migrate(empty_url)
    async with opened(empty_url) as connection:
        await connection.execute_query(
            "UPDATE tortoise_migrations SET name = '0001_initial' WHERE name = '0001_version_1'"
        )

    for act in (migrate, rollback):
        with pytest.raises(SchemaTooOld, match=r"before 1\.0, which cannot be upgraded: start with an empty database"):
            await act(empty_url)


def test_a_function_that_changes_is_a_new_whole_file() -> None:
    """No statement is made by replacing parts of another: each .sql file is what runs."""
    steps = [path.read_text() for path in MIGRATIONS]

    assert [text for text in steps if ".replace(" in text or "CREATE " in text] == []
    assert sorted(path.name[:4] for path in MIGRATIONS[0].parent.glob("*.sql")) >= ["0001"]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[BaseDBAsyncClient]:
    async with TortoiseContext() as context:
        await context.init(config=tortoise_config(url))
        yield context.connections.get("default")


async def shapes(connection: BaseDBAsyncClient) -> dict[str, set[tuple[object, ...]]]:
    """Columns and unique sets of each table."""
    found: dict[str, set[tuple[object, ...]]] = {}
    for row in await connection.execute_query_dict(COLUMNS[connection.capabilities.dialect]):
        found.setdefault(row.pop("of_table"), set()).add(tuple(row.values()))
    return found
