"""The state of the database, Redis, Kafka and the workers, for /ready and `vyry check`. Each probe takes at most 2 s; a node keeps the connections of its probes.

A `problem` is a text for the operator; it contains no address, user or secret.
"""

import asyncio
import socket
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
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from vyry.kafka.url import client_options, topic_name
from vyry.mail.partitions import WORKER_LOST_SECONDS
from vyry.redis.connection import connect_redis
from vyry.storage.database import is_postgres, sqlite_path
from vyry.storage.missing_tables import is_migrated
from vyry.telemetry import DEPENDENCY_UP


PROBE_TIMEOUT_SECONDS: Final = 2.0
#: /ready needs no token: however often it is requested, the services are probed once in this time.
CACHE_SECONDS: Final = 1.0
_WORKERS_SQL: Final = """
SELECT count(*) FILTER (WHERE heartbeat_at >= clock_timestamp() - make_interval(secs => $1)) AS alive, count(*) AS known FROM workers"""
_PROBLEM_TEXTS: Final[Mapping[type[Exception], str]] = {
    ssl.SSLCertVerificationError: "the node does not trust its certificate",
    socket.gaierror: "the name of its host is not known",
    TimeoutError: f"it did not answer within {PROBE_TIMEOUT_SECONDS:.0f} s",
    asyncpg.InvalidAuthorizationSpecificationError: "it rejected the user or the password",
    asyncpg.InvalidCatalogNameError: "it has no database of this name",
    asyncpg.UndefinedTableError: "its tables are missing: run `vyry migrate`",
    AuthenticationError: "it rejected the user or the password",
    ConnectionRefusedError: "nothing listens at its address",
    ResponseError: "it rejected the first command: it may have no database of that number",
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
        """The database, then Redis, Kafka and the workers if they are configured; at last the node itself while it is stopping."""
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
    """The connections of the probes to the database (one for each probe) and to Redis, opened by the first probe and after a failure."""

    def __init__(self) -> None:
        self._postgres: asyncpg.Connection | None = None
        self._workers: asyncpg.Connection | None = None
        self._redis: Redis | None = None

    async def ask_postgres(self, url: str) -> str:
        """The version. Raises _UnusableService when a migration is missing."""
        if self._postgres is None or self._postgres.is_closed():
            self._postgres = await asyncpg.connect(url, timeout=PROBE_TIMEOUT_SECONDS, statement_cache_size=0)
        try:
            version: str = await self._postgres.fetchval("SHOW server_version")
            is_current = await is_migrated(partial(self._postgres.fetch, timeout=PROBE_TIMEOUT_SECONDS))
        except BaseException:
            self._postgres.terminate()
            raise
        if not is_current:
            raise _UnusableService("its tables are not those of this release: run `vyry migrate`")
        return f"PostgreSQL {version.split(maxsplit=1)[0]}"

    async def ask_workers(self, url: str) -> str:
        """How many workers live. Raises _UnusableService when none does."""
        if self._workers is None or self._workers.is_closed():
            self._workers = await asyncpg.connect(url, timeout=PROBE_TIMEOUT_SECONDS, statement_cache_size=0)
        try:
            (row,) = await self._workers.fetch(_WORKERS_SQL, WORKER_LOST_SECONDS, timeout=PROBE_TIMEOUT_SECONDS)
        except BaseException:
            self._workers.terminate()
            raise
        if not row["alive"]:
            raise _UnusableService("no worker lives: start `vyry worker`")
        return f"{row['alive']} of {row['known']} workers"

    async def ask_redis(self, url: str) -> str:
        """The version."""
        if self._redis is None:
            self._redis = connect_redis(url)
        facts = await self._redis.info("server")
        return f"Redis {facts['redis_version']}"

    async def close(self) -> None:
        """Close all."""
        for connection in (self._postgres, self._workers):
            if connection is not None:
                connection.terminate()
        if self._redis is not None:
            await self._redis.aclose()


async def _probe_all(database: str, redis: str | None, kafka: str | None, kept: _Connections) -> list[Dependency]:
    ask_database = kept.ask_postgres if is_postgres(database) else _sqlite_version
    asked: list[tuple[str, Callable[[str], Awaitable[str]], str | None]] = [
        ("database", ask_database, database),
        ("redis", kept.ask_redis, redis),
        ("kafka", _kafka, kafka),
        ("workers", kept.ask_workers, database if kafka and is_postgres(database) else None),
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
        _UnusableService,
    ) as problem:
        return Dependency(name, is_needed, is_up=False, problem=_describe(problem))


class _UnusableService(Exception):
    """The service answers and cannot be used; the text says why, and what to do."""


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
            raise _UnusableService(f"it has no topic {topic_name(url)}: run `vyry migrate`")
        leaderless = len(partitions) - len(metadata.available_partitions_for_topic(topic_name(url)))
        if leaderless:
            raise _UnusableService(
                f"{leaderless} of {len(partitions)} partitions have no leader: start the missing brokers"
            )
        return f"Kafka, {len(metadata.brokers())} brokers, {len(partitions)} partitions"
    finally:
        await client.close()


def _describe(problem: Exception) -> str:
    if isinstance(problem, _UnusableService):
        return str(problem)
    # Drivers wrap what the operating system reports.
    causes = [each for each in (problem, problem.__cause__, problem.__context__) if each is not None]
    fitting = (words for each in causes for kind, words in _PROBLEM_TEXTS.items() if isinstance(each, kind))
    return next(fitting, f"it cannot be reached ({type(problem).__name__})")
