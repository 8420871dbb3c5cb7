"""What /ready and the operator's listener say of the services, while they are there and while they are not."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from scripts.services import Redis, free_port
from vyry.kafka.topic import ensure_topic
from vyry.operator.admin_server import AdminSources, serve_admin
from vyry.operator.health import CACHE_SECONDS, Health


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_every_service_that_answers_is_up(
    postgres_url: str, redis_url: str, kafka_url: str, topic_prefix: str
) -> None:
    url = f"{kafka_url}/{topic_prefix}"
    await ensure_topic(url, partitions=3)

    found = await Health(postgres_url, redis_url, url).check()

    assert [(each.name, each.is_up, each.is_needed, each.problem) for each in found] == [
        ("database", True, True, ""), ("redis", True, False, ""), ("kafka", True, False, ""),
    ]  # fmt: skip
    assert found[2].version == "Kafka, 1 brokers, 3 partitions"


async def test_a_broker_without_the_topic_is_told_what_to_do(
    postgres_url: str, kafka_url: str, topic_prefix: str
) -> None:
    found = await Health(postgres_url, None, f"{kafka_url}/{topic_prefix}").check()

    assert (found[1].is_up, "vyry migrate" in found[1].problem) == (False, True)


async def test_services_that_say_nothing_are_away_within_their_time(sqlite_url: str) -> None:
    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    silence = asyncio.Event()
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    began = time.monotonic()

    found = await Health(
        f"postgres://a:hunter2@{address}/b", f"redis://:hunter2@{address}", f"kafka://{address}"
    ).check()

    took = time.monotonic() - began
    silence.set()
    server.close()
    assert [each.is_up for each in found] == [False, False, False]
    assert took < 3
    assert "hunter2" not in repr(found)


async def test_metrics_and_readiness_follow_a_service_that_goes_and_comes(
    sqlite_url: str, http: aiohttp.ClientSession
) -> None:
    with Redis() as redis:
        async with serve_admin("127.0.0.1", free_port(), AdminSources(health=Health(sqlite_url, redis.url))) as port:
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
