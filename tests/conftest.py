"""Fixtures every test may ask for: services come from TEST_DATABASE_URL, TEST_REDIS_URL and TEST_KAFKA_URL, as `make test` sets them."""

import asyncio
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from redis import Redis


def service(variable: str) -> str:
    return os.environ.get(variable) or pytest.fail(f"{variable} is not set: run this test through `make test`")


def fresh_name(kind: str) -> str:
    return f"vyry_{kind}_{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[str]:
    """The name of a database that holds the newest schema and no rows."""
    yield from database("template", "template1", is_migrated=False)


@pytest.fixture
def postgres_url(postgres_template: str) -> Iterator[str]:
    """A migrated PostgreSQL database of this test's own."""
    for name in database("test", postgres_template, is_migrated=True):
        yield database_url(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that holds the newest schema and no rows."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrated(f"sqlite://{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite file of this test's own."""
    return f"sqlite://{shutil.copy(sqlite_template, tmp_path / 'vyry.db')}"


@pytest.fixture
def redis_url() -> str:
    """An empty Redis."""
    with Redis.from_url(service("TEST_REDIS_URL")) as redis:
        redis.flushall()
    return service("TEST_REDIS_URL")


@pytest.fixture
def kafka_url() -> str:
    """A running broker that all tests share: take the names of topics and groups from `topic_prefix`."""
    return service("TEST_KAFKA_URL")


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for names of topics and consumer groups that no other test uses."""
    return fresh_name("t")


def database(kind: str, template: str, *, is_migrated: bool) -> Iterator[str]:
    name = fresh_name(kind)
    execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    if not is_migrated:
        migrated(database_url(name))
    yield name
    execute(f"DROP DATABASE {name} WITH (FORCE)")


def migrated(url: str) -> None:
    from vyry.adapters.migrating import migrate  # noqa: PLC0415 - a test that needs no database pays nothing for it

    asyncio.run(migrate(url))


def database_url(name: str) -> str:
    return service("TEST_DATABASE_URL").rpartition("/")[0] + f"/{name}"


def execute(statement: str) -> None:
    async def on_a_connection_of_its_own() -> None:
        connection = await asyncpg.connect(service("TEST_DATABASE_URL"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(on_a_connection_of_its_own())
