"""The state of the database, Redis, Kafka and the workers, for /ready and `vyry check`. Each probe takes at most 2 s; a node keeps the connections of its probes.

A `problem` is a text for the operator; it contains no address, user or secret.
"""

import asyncio
import socket
import sqlite3
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import asyncpg
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from vyry.kafka.url import client_options, topic_name
from vyry.mail.partitions import WORKER_LOST_SECONDS
from vyry.mail.workers import PartitionMap
from vyry.operator.topic_map import other_topic, too_few_partitions
from vyry.redis.connection import connect_redis
from vyry.storage.database import is_postgres, sqlite_path
from vyry.storage.live_workers import COUNT_WORKERS
from vyry.storage.missing_tables import is_migrated
from vyry.telemetry import DEPENDENCY_UP


T = TypeVar("T")
PROBE_TIMEOUT_SECONDS: Final = 2.0
#: /ready needs no token: however often it is requested, the services are probed once in this time.
CACHE_SECONDS: Final = 1.0
#: The map of partitions is read before the brokers are asked, and must leave them most of the time of the probe.
_MAP_SECONDS: Final = 0.5
_MAP_SQL: Final = "SELECT generation, partitions, topic FROM partition_map"
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
                self._found = await _probe_all(self._urls, self._kept, map_url=self._urls[0])
                for each in self._found:
                    DEPENDENCY_UP.labels(each.name).set(each.is_up)
                self._until = time.monotonic() + CACHE_SECONDS
            return [*self._found, _STOPPING] if self.is_stopping else self._found

    async def aclose(self) -> None:
        """Close the connections of the probes."""
        await self._kept.close()


async def probe(database: str, redis: str | None = None, kafka: str | None = None) -> list[Dependency]:
    """Probe the services with these URLs concurrently, each over a connection of its own. The topic is not compared with the map of partitions."""
    kept = _Connections()
    try:
        return await _probe_all((database, redis, kafka), kept)
    finally:
        await kept.close()


class _Connections:
    """The connections of the probes to the database (one for each probe) and to Redis, opened by the first probe and after a failure."""

    def __init__(self) -> None:
        self._postgres: dict[str, asyncpg.Connection] = {}
        self._redis: Redis | None = None

    async def ask_postgres(self, url: str) -> str:
        """The version. Raises _UnusableService when a migration is missing."""
        version, is_current = await self._query("database", url, _read_version)
        if not is_current:
            raise _UnusableService("its tables are not those of this release: run `vyry migrate`")
        return f"PostgreSQL {version}"

    async def ask_workers(self, url: str) -> str:
        """How many workers live. Raises _UnusableService when none does."""
        (row,) = await self._query("workers", url, lambda opened: opened.fetch(COUNT_WORKERS, WORKER_LOST_SECONDS))
        if not row["alive"]:
            raise _UnusableService("no worker lives: start `vyry worker`")
        return f"{row['alive']} of {row['known']} workers"

    async def ask_kafka(self, url: str, map_url: str | None) -> str:
        """The brokers and the partitions of the topic. Raises _UnusableService when no record of this node reaches a worker."""
        known = await self._read_map(map_url) if map_url and is_postgres(map_url) else None
        return await _kafka(url, known)

    async def _read_map(self, url: str) -> PartitionMap | None:
        """The map of partitions; None when there is none, or the database is down, which has a probe of its own."""
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with asyncio.timeout(_MAP_SECONDS):
                row = await self._query("map", url, lambda opened: opened.fetchrow(_MAP_SQL))
                return PartitionMap(**row) if row else None
        return None

    async def _query(self, name: str, url: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Run `work` over the connection of this probe."""
        opened = self._postgres.get(name)
        if opened is None or opened.is_closed():
            opened = await asyncpg.connect(url, timeout=PROBE_TIMEOUT_SECONDS, statement_cache_size=0)
            self._postgres[name] = opened
        try:
            return await work(opened)
        except BaseException:
            opened.terminate()
            raise

    async def ask_redis(self, url: str) -> str:
        """The version."""
        if self._redis is None:
            self._redis = connect_redis(url)
        facts = await self._redis.info("server")
        return f"Redis {facts['redis_version']}"

    async def close(self) -> None:
        """Close all."""
        for connection in self._postgres.values():
            connection.terminate()
        if self._redis is not None:
            await self._redis.aclose()


async def _probe_all(
    urls: tuple[str, str | None, str | None], kept: _Connections, *, map_url: str | None = None
) -> list[Dependency]:
    database, redis, kafka = urls
    ask_database = kept.ask_postgres if is_postgres(database) else _sqlite_version
    asked: list[tuple[str, Callable[[str], Awaitable[str]], str | None]] = [
        ("database", ask_database, database),
        ("redis", kept.ask_redis, redis),
        ("kafka", partial(kept.ask_kafka, map_url=map_url), kafka),
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


async def _read_version(opened: asyncpg.Connection) -> tuple[str, bool]:
    """The version of PostgreSQL, and whether all migrations of this release are applied."""
    version: str = await opened.fetchval("SHOW server_version")
    return version.split(maxsplit=1)[0], await is_migrated(opened.fetch)


async def _kafka(url: str, known: PartitionMap | None) -> str:
    client = AIOKafkaClient(**client_options(url), request_timeout_ms=int(PROBE_TIMEOUT_SECONDS * 1000))
    try:
        await client.bootstrap()
        metadata = await client.fetch_all_metadata()
    finally:
        await client.close()
    name = topic_name(url)
    count = len(metadata.partitions_for_topic(name) or ())
    led = len(metadata.available_partitions_for_topic(name) or ())
    for problem in _topic_problems(name, count, led, known):
        raise _UnusableService(problem)
    return f"Kafka, {len(metadata.brokers())} brokers, {count} partitions"


def _topic_problems(name: str, count: int, led: int, known: PartitionMap | None) -> Iterator[str]:
    """Why work records of this node reach no worker, with what to do; the first of them explains the others."""
    if known is not None and name != known.topic:
        yield other_topic(name, known)
    if not count:
        yield f"it has no topic {name}: run `vyry migrate`"
    if led < count:
        yield f"{count - led} of {count} partitions have no leader: start the missing brokers"
    if known is not None and count < known.partitions:
        yield too_few_partitions(name, count, known)


def _describe(problem: Exception) -> str:
    if isinstance(problem, _UnusableService):
        return str(problem)
    # Drivers wrap what the operating system reports.
    causes = [each for each in (problem, problem.__cause__, problem.__context__) if each is not None]
    fitting = (words for each in causes for kind, words in _PROBLEM_TEXTS.items() if isinstance(each, kind))
    return next(fitting, f"it cannot be reached ({type(problem).__name__})")
