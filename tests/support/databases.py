"""Fresh databases for tests: each is cloned from one that was migrated once, which takes milliseconds instead of a second."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest


def service_url(variable: str) -> str:
    """Where a service listens, as `make test` says."""
    return os.environ.get(variable) or pytest.fail(f"{variable} is not set: run this test through `make test`")


def unique_name(kind: str) -> str:
    """A name that nothing else in the run has."""
    return f"vyry_{kind}_{uuid.uuid4().hex[:12]}"


@contextmanager
def temporary_database(kind: str, template: str = "template1") -> Iterator[str]:
    """The name of a new database like `template`; it is gone afterwards, whoever is still connected."""
    name = unique_name(kind)
    execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield name
    execute(f"DROP DATABASE {name} WITH (FORCE)")


def database_url(name: str) -> str:
    """The URL of another database on the tests' server."""
    return service_url("TEST_DATABASE_URL").rpartition("/")[0] + f"/{name}"


def migrate(url: str) -> None:
    """Bring a database to the newest schema."""
    from vyry.storage.migrator import migrate  # noqa: PLC0415 - a test that needs no database pays nothing for it

    asyncio.run(migrate(url))


def execute(statement: str) -> None:
    """One statement on the tests' server, outside a transaction."""

    async def on_a_connection_of_its_own() -> None:
        connection = await asyncpg.connect(service_url("TEST_DATABASE_URL"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(on_a_connection_of_its_own())
