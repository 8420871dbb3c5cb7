"""What /ready and the operator's listener say of the services, while they are there and while they are not."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
from redis.asyncio import Redis as RedisClient

from scripts.kafka_cluster import KafkaCluster
from scripts.services import Redis, free_port
from vyry.kafka.topic import ensure_topic
from vyry.kafka.url import topic_name
from vyry.mail.partitions import WORKER_LOST_SECONDS
from vyry.mail.workers import WorkerIdentity
from vyry.operator.admin_server import AdminSources, serve_admin
from vyry.operator.health import CACHE_SECONDS, Health, probe
from vyry.storage.database import open_database
from vyry.storage.partition_models import WorkerRow
from vyry.storage.partitions import PartitionStore
from vyry.storage.workers import TortoiseWorkers


WORKER = WorkerIdentity(name="one", host="one.example", version="1.0", boot=uuid4())


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_every_service_that_answers_is_up(
    postgres_url: str, redis_url: str, kafka_url: str, topic_prefix: str
) -> None:
    url = f"{kafka_url}/{topic_prefix}"
    await ensure_topic(url, partitions=3)
    async with open_database(postgres_url):
        await TortoiseWorkers().claim(WORKER)

    async with aclosing(Health(postgres_url, redis_url, url)) as health:
        found = await health.check()

    assert [(each.name, each.is_up, each.is_needed, each.problem) for each in found] == [
        ("database", True, True, ""), ("redis", True, False, ""), ("kafka", True, False, ""), ("workers", True, False, ""),
    ]  # fmt: skip
    assert [each.version for each in found[2:]] == ["Kafka, 1 brokers, 3 partitions", "1 of 1 workers"]


async def test_an_installation_without_a_live_worker_is_told_what_to_do(postgres_url: str, kafka_url: str) -> None:
    async with open_database(postgres_url):
        await TortoiseWorkers().claim(WORKER)
        row = await WorkerRow.get(name=WORKER.name)
        await WorkerRow.all().update(heartbeat_at=row.heartbeat_at - timedelta(seconds=WORKER_LOST_SECONDS + 1))

    async with aclosing(Health(postgres_url, None, kafka_url)) as health:
        found = await health.check()

    assert (found[2].name, found[2].is_needed, found[2].is_up) == ("workers", False, False)
    assert found[2].problem == "no worker lives: start `vyry worker`"


# aiokafka leaves a connection to a broker that dies while it connects to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_partitions_without_a_leader_are_counted() -> None:
    problem = ""
    with KafkaCluster() as kafka:
        await ensure_topic(kafka.url, partitions=6, replication=1)
        await asyncio.to_thread(kafka.brokers[2].kill)
        async with asyncio.timeout(40):
            while "no leader" not in problem:
                problem = (await probe("sqlite://unused.db", None, kafka.url))[1].problem

    assert problem == "2 of 6 partitions have no leader: start the missing brokers"


async def test_a_broker_without_the_topic_is_told_what_to_do(
    postgres_url: str, kafka_url: str, topic_prefix: str
) -> None:
    async with aclosing(Health(postgres_url, None, f"{kafka_url}/{topic_prefix}")) as health:
        found = await health.check()

    assert (found[1].is_up, "vyry migrate" in found[1].problem) == (False, True)


@pytest.mark.parametrize(
    ("prefix", "problem"),
    [("house", "this installation uses house.vyry-mailbags"), (None, "plan grow 5")],
    ids=["another prefix", "too few partitions"],
)
async def test_a_topic_that_is_not_that_of_the_map_is_no_kafka_for_the_node(
    postgres_url: str, kafka_url: str, topic_prefix: str, prefix: str | None, problem: str
) -> None:
    url = f"{kafka_url}/{topic_prefix}"
    await ensure_topic(url, partitions=3)
    async with open_database(postgres_url):
        await PartitionStore().create_map(5, topic_name(f"{kafka_url}/{prefix or topic_prefix}"))

    async with aclosing(Health(postgres_url, None, url)) as health:
        found = await health.check()

    assert (found[1].name, found[1].is_up, found[1].is_needed) == ("kafka", False, False)
    assert problem in found[1].problem


async def test_services_that_say_nothing_are_away_within_their_time(sqlite_url: str) -> None:
    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    silence = asyncio.Event()
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    began = time.monotonic()

    urls = f"postgres://a:hunter2@{address}/b", f"redis://:hunter2@{address}", f"kafka://{address}"
    async with aclosing(Health(*urls)) as health:
        found = await health.check()

    took = time.monotonic() - began
    silence.set()
    server.close()
    assert [each.is_up for each in found] == [False] * 4
    assert took < 3
    assert "hunter2" not in repr(found)


async def test_metrics_and_readiness_follow_a_service_that_goes_and_comes(
    sqlite_url: str, http: aiohttp.ClientSession
) -> None:
    with Redis() as redis:
        async with (
            aclosing(Health(sqlite_url, redis.url)) as health,
            serve_admin("127.0.0.1", free_port(), AdminSources(health=health)) as port,
        ):
            seen = []
            for act in (lambda: None, redis.stop, redis.start):
                await asyncio.to_thread(act)
                await asyncio.sleep(CACHE_SECONDS)
                text = await (await http.get(f"http://127.0.0.1:{port}/metrics")).text()
                answer = await http.get(f"http://127.0.0.1:{port}/ready")
                seen.append(
                    (
                        'vyry_dependency_up{dependency="redis"} 1.0' in text,
                        answer.status,
                        [each["is_up"] for each in await answer.json()],
                    )
                )

    assert seen == [(True, 200, [True, True]), (False, 200, [True, False]), (True, 200, [True, True])]


async def test_however_many_ask_the_services_are_asked_once_a_second(sqlite_url: str) -> None:
    health = Health(sqlite_url)

    answers = await asyncio.gather(*(health.check() for _ in range(50)))

    assert all(each is answers[0] for each in answers)


async def test_scrapes_keep_their_connections(postgres_url: str, redis_url: str) -> None:
    async with aclosing(Health(postgres_url, redis_url)) as health, RedisClient.from_url(redis_url) as redis:
        await health.check()
        opened = await redis_connections(redis), await postgres_session(postgres_url)

        for _ in range(3):
            await asyncio.sleep(CACHE_SECONDS)
            assert all(each.is_up for each in await health.check())

        assert (await redis_connections(redis), await postgres_session(postgres_url)) == opened


async def redis_connections(redis: RedisClient) -> int:
    """The number of connections that Redis has accepted so far."""
    return int((await redis.info("stats"))["total_connections_received"])


async def postgres_session(url: str) -> int:
    """The process of the probes' only session."""
    connection = await asyncpg.connect(url)
    try:
        return int(
            await connection.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    finally:
        await connection.close()


async def test_a_node_that_stops_says_so_to_the_operator_too(sqlite_url: str) -> None:
    health = Health(sqlite_url)
    await health.check()

    health.is_stopping = True

    assert [(each.name, each.is_up, each.problem) for each in await health.check()][1:] == [
        ("node", False, "it is stopping")
    ]


async def test_a_second_process_takes_the_next_port(sqlite_url: str) -> None:
    health = Health(sqlite_url)
    first_choice = free_port()

    async with (
        serve_admin("127.0.0.1", first_choice, AdminSources(health=health)) as first,
        serve_admin("127.0.0.1", first_choice, AdminSources(health=health)) as second,
    ):
        assert first == first_choice
        assert second > first


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("evil.example:PORT", 421),
        ("", 421),
        ("[::1]:PORT", 421),
        ("localhost:PORT", 200),
        ("127.0.0.1:PORT", 200),
    ],
)
async def test_the_operators_listener_answers_its_own_host_only(
    sqlite_url: str, http: aiohttp.ClientSession, host: str, status: int
) -> None:
    async with serve_admin("127.0.0.1", free_port(), AdminSources(health=Health(sqlite_url))) as port:
        for path in ("/metrics", "/ready", "/unknown"):
            async with http.get(
                f"http://127.0.0.1:{port}{path}", headers={"Host": host.replace("PORT", str(port))}
            ) as answer:
                assert "Server" not in answer.headers
                assert answer.status == (status if path != "/unknown" or status == 421 else 404)
