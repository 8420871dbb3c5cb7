"""The state of the database, Redis and Kafka, for /ready and `vyry check`. Each probe opens a connection and takes at most 2 s.

A `problem` is a text for the operator; it contains no address, user or secret.
"""

import asyncio
import sqlite3
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from redis.exceptions import AuthenticationError, RedisError

from vyry.kafka.url import client_options, topic_name
from vyry.redis.connection import connect_redis
from vyry.storage.database import is_postgres, sqlite_path
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


class Health:
    """The state of a node's dependencies, at most a second old."""

    def __init__(self, database: str, redis: str | None = None, kafka: str | None = None) -> None:
        self._urls = (database, redis, kafka)
        self._found: list[Dependency] = []
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def check(self) -> list[Dependency]:
        """The database, then Redis and Kafka if they are configured."""
        async with self._turn:
            if time.monotonic() >= self._until:
                self._found = await probe(*self._urls)
                for each in self._found:
                    DEPENDENCY_UP.labels(each.name).set(each.is_up)
                self._until = time.monotonic() + CACHE_SECONDS
            return self._found


async def probe(database: str, redis: str | None = None, kafka: str | None = None) -> list[Dependency]:
    """Probe the services with these URLs concurrently."""
    asked: list[tuple[str, Callable[[str], Awaitable[str]], str | None]] = [
        ("database", _database, database),
        ("redis", _redis, redis),
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
    ) as problem:
        return Dependency(name, is_needed, is_up=False, problem=_describe(problem))


class _TopicMissing(Exception):
    """Kafka is up, but the topic does not exist."""


async def _database(url: str) -> str:
    if not is_postgres(url):
        return await asyncio.to_thread(_sqlite, Path(sqlite_path(url)))
    connection = await asyncpg.connect(url, timeout=PROBE_TIMEOUT_SECONDS)
    try:
        version: str = await connection.fetchval("SHOW server_version")
        return f"PostgreSQL {version.split(maxsplit=1)[0]}"
    finally:
        connection.terminate()


def _sqlite(path: Path) -> str:
    if path.exists():
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=PROBE_TIMEOUT_SECONDS / 2)
        ) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    return f"SQLite {sqlite3.sqlite_version}"


async def _redis(url: str) -> str:
    async with connect_redis(url) as redis:
        facts = await redis.info("server")
        return f"Redis {facts['redis_version']}"


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
    fitting = (words for kind, words in _PROBLEM_TEXTS.items() if isinstance(problem, kind))
    return next(fitting, f"it cannot be reached ({type(problem).__name__})")
