"""The state of the database, Redis and Kafka, for /ready and `vyry check`. Each probe takes at most 2 s; a node keeps the connections of its probes.

A `problem` is a text for the operator; it contains no address, user or secret.
"""

import asyncio
import sqlite3
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from vyry.kafka.url import topic_name
from vyry.kafka.work_topic import client_options
from vyry.redis.connection import connect_redis
from vyry.storage.database import is_postgres, sqlite_path
from vyry.storage.missing_tables import is_migrated
from vyry.telemetry import DEPENDENCY_UP


PROBE_TIMEOUT_SECONDS: Final = 2.0
#: /ready needs no token: however often it is requested, the services are probed once in this time.
CACHE_SECONDS: Final = 1.0
_PROBLEM_TEXTS: Final[Mapping[type[Exception], str]] = {
    ssl.SSLCertVerificationError: "the node does not trust its certificate",
    TimeoutError: f"it did not answer within {PROBE_TIMEOUT_SECONDS:.0f} s",
    asyncpg.InvalidAuthorizationSpecificationError: "it rejected the user or the password",
    asyncpg.InvalidCatalogNameError: "it has no database of this name",
    AuthenticationError: "it rejected the user or the password",
}


@dataclass(frozen=True, slots=True)
class Dependency:
    """One service. The node serves no request without one that `is_needed`; without the others mail is late."""

    name: str
    is_needed: bool
    is_up: bool
    problem: str = ""
    #: For example "PostgreSQL 15.18".
    version: str = ""


_STOPPING: Final = Dependency("node", is_needed=True, is_up=False, problem="it is stopping")


class Health:
    """The state of a node's dependencies, at most a second old."""

    def __init__(self, database: str, redis: str | None = None, kafka: str | None = None) -> None:
        self._urls = (database, redis, kafka)
        self._kept = _Connections()
        self._found: list[Dependency] = []
        self._until = 0.0
        self._turn = asyncio.Lock()
        #: The node is stopping: it is not ready, whatever its dependencies are.
        self.is_stopping = False

    async def check(self) -> list[Dependency]:
        """The database, then Redis and Kafka if they are configured; at last the node itself while it is stopping."""
        async with self._turn:
            if time.monotonic() >= self._until:
                self._found = await _probe_all(*self._urls, self._kept)
                for each in self._found:
                    DEPENDENCY_UP.labels(each.name).set(each.is_up)
                self._until = time.monotonic() + CACHE_SECONDS
            return [*self._found, _STOPPING] if self.is_stopping else self._found

    async def aclose(self) -> None:
        """Close the connections of the probes."""
        await self._kept.close()


async def probe(database: str, redis: str | None = None, kafka: str | None = None) -> list[Dependency]:
    """Probe the services with these URLs concurrently, each over a connection of its own."""
    kept = _Connections()
    try:
        return await _probe_all(database, redis, kafka, kept)
    finally:
        await kept.close()


class _Connections:
    """The connections of the probes to the database and to Redis, opened by the first probe and after a failure."""

    def __init__(self) -> None:
        self._postgres: asyncpg.Connection | None = None
        self._redis: Redis | None = None

    async def ask_postgres(self, url: str) -> str:
        """The version. Raises _NotMigrated."""
        if self._postgres is None or self._postgres.is_closed():
            self._postgres = await asyncpg.connect(url, timeout=PROBE_TIMEOUT_SECONDS, statement_cache_size=0)
        try:
            version: str = await self._postgres.fetchval("SHOW server_version")
            is_current = await is_migrated(partial(self._postgres.fetch, timeout=PROBE_TIMEOUT_SECONDS))
        except BaseException:
            self._postgres.terminate()
            raise
        if not is_current:
            raise _NotMigrated
        return f"PostgreSQL {version.split(maxsplit=1)[0]}"

    async def ask_redis(self, url: str) -> str:
        """The version."""
        if self._redis is None:
            self._redis = connect_redis(url)
        facts = await self._redis.info("server")
        return f"Redis {facts['redis_version']}"

    async def close(self) -> None:
        """Close both."""
        if self._postgres is not None:
            self._postgres.terminate()
        if self._redis is not None:
            await self._redis.aclose()


async def _probe_all(database: str, redis: str | None, kafka: str | None, kept: _Connections) -> list[Dependency]:
    ask_database = kept.ask_postgres if is_postgres(database) else _sqlite_version
    asked: list[tuple[str, Callable[[str], Awaitable[str]], str | None]] = [
        ("database", ask_database, database),
        ("redis", kept.ask_redis, redis),
        ("kafka", _kafka, kafka),
    ]
    return await asyncio.gather(*(_probe(name, ask, url) for name, ask, url in asked if url))


async def _probe(name: str, ask: Callable[[str], Awaitable[str]], url: str) -> Dependency:
    is_needed = name == "database"
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            return Dependency(name, is_needed, is_up=True, version=await ask(url))
    except (
        OSError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        sqlite3.Error,
        RedisError,
        KafkaError,
        _TopicMissing,
        _NotMigrated,
    ) as problem:
        return Dependency(name, is_needed, is_up=False, problem=_describe(problem))


class _TopicMissing(Exception):
    """Kafka is up, but the topic does not exist."""


class _NotMigrated(Exception):
    """The database is up, but lacks tables of this release."""


async def _sqlite_version(url: str) -> str:
    return await asyncio.to_thread(_sqlite, Path(sqlite_path(url)))


def _sqlite(path: Path) -> str:
    if path.exists():
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=PROBE_TIMEOUT_SECONDS / 2)
        ) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    return f"SQLite {sqlite3.sqlite_version}"


async def _kafka(url: str) -> str:
    client = AIOKafkaClient(**client_options(url), request_timeout_ms=int(PROBE_TIMEOUT_SECONDS * 1000))
    try:
        await client.bootstrap()
        metadata = await client.fetch_all_metadata()
        partitions = metadata.partitions_for_topic(topic_name(url))
        if not partitions:
            raise _TopicMissing(f"it has no topic {topic_name(url)}: run `vyry migrate`")
        return f"Kafka, {len(metadata.brokers())} brokers, {len(partitions)} partitions"
    finally:
        await client.close()


def _describe(problem: Exception) -> str:
    if isinstance(problem, _TopicMissing):
        return str(problem)
    if isinstance(problem, _NotMigrated):
        return "its tables are not those of this release: run `vyry migrate`"
    fitting = (words for kind, words in _PROBLEM_TEXTS.items() if isinstance(problem, kind))
    return next(fitting, f"it cannot be reached ({type(problem).__name__})")
