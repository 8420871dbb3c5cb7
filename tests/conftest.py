"""Fixtures every test may ask for: services come from TEST_DATABASE_URL, TEST_REDIS_URL and TEST_KAFKA_URL, as `make test` sets them."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from redis import Redis

from scripts import services
from scripts.s3_service import S3
from tests.support.databases import database_url, migrate, service_url, temporary_database, unique_name


#: Two busy cores make single examples slow at random; the cap a test (setup.cfg) bounds the whole.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")


def block_outside_network(event: str, arguments: tuple[object, ...]) -> None:
    """No test reaches beyond the loopback, not even by accident of a default."""
    if (
        event == "socket.connect"
        and isinstance(arguments[1], tuple)
        and arguments[1][0] not in {"127.0.0.1", "::1", "localhost"}
    ):
        raise AssertionError(f"a test tried to reach {arguments[1][0]}")


sys.addaudithook(block_outside_network)


def pytest_configure(config: pytest.Config) -> None:
    """Of several processes that test side by side each has ports and a Redis of its own: tests empty it. PostgreSQL and Kafka they share."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        services.use_port_share(int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
        redis = services.Redis()
        redis.start()
        config.add_cleanup(redis.remove)
        os.environ["TEST_REDIS_URL"] = redis.url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What all other tests made nodes write is swept when they are done."""
    items.sort(key=lambda item: item.path.name == "test_secrecy.py")


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[str]:
    """The name of a database that holds the newest schema and no rows."""
    with temporary_database("template") as name:
        migrate(database_url(name))
        yield name


@pytest.fixture
def postgres_url(postgres_template: str) -> Iterator[str]:
    """A migrated PostgreSQL database of this test's own."""
    with temporary_database("test", postgres_template) as name:
        yield database_url(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that holds the newest schema and no rows."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite://{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite file of this test's own."""
    return f"sqlite://{shutil.copy(sqlite_template, tmp_path / 'vyry.db')}"


@pytest.fixture
def redis_url() -> str:
    """An empty Redis."""
    with Redis.from_url(service_url("TEST_REDIS_URL")) as redis:
        redis.flushall()
    return service_url("TEST_REDIS_URL")


@pytest.fixture
def kafka_url() -> str:
    """A running broker that all tests share: take the names of topics and groups from `topic_prefix`."""
    return service_url("TEST_KAFKA_URL")


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """An S3 server that all tests share: take a prefix of the test's own."""
    with S3() as server:
        yield server


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for names of topics and consumer groups that no other test uses."""
    return unique_name("t")
