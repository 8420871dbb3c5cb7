"""Every part dies once under steady traffic. Whatever was accepted is delivered once, in order, chain intact; each test proves its fault was felt."""

import asyncio

import aiohttp
import pytest
from redis import Redis

from scripts.nodes import Cluster
from scripts.services import Server
from tests.support.traffic import ANSWER_SECONDS, Traffic


pytestmark = pytest.mark.timeout(150)


async def crash(server: Server) -> int:
    """Kill it as a crash would; answers the pid that died."""
    pid = server.pid
    await asyncio.to_thread(server.kill)
    return pid


async def away(http: aiohttp.ClientSession, installation: Cluster) -> set[str]:
    """What the first web node says it cannot reach."""
    async with http.get(f"{installation.webs[0].url}/ready") as answer:
        said = await answer.json()
    return {dependency["name"] for dependency in said["dependencies"] if not dependency["isUp"]}


async def test_nothing_breaks_and_every_process_does_its_part(installation: Cluster, flow: Traffic) -> None:
    await flow.wait_for_progress(200)

    assert await flow.stop_and_check() == []
    deposited = [node.metrics()["vyry_deposit_total"] for node in installation.nodes]
    assert (min(deposited) > 0, len(deposited)) == (True, 4)


async def test_a_crash_of_a_worker(installation: Cluster, flow: Traffic) -> None:
    worker = installation.workers[0]
    await flow.wait_for_progress(50)

    dead = await crash(worker)
    await flow.wait_for_progress(200)
    await asyncio.to_thread(worker.start)
    await flow.wait_for_progress(50)

    assert await flow.stop_and_check() == []
    assert worker.pid != dead


async def test_a_crash_of_both_workers(installation: Cluster, flow: Traffic) -> None:
    await flow.wait_for_progress(50)

    dead = [await crash(worker) for worker in installation.workers]
    await asyncio.sleep(2)
    for worker in installation.workers:
        await asyncio.to_thread(worker.start)
    await flow.wait_for_progress(100)

    assert await flow.stop_and_check() == []
    assert not set(dead) & {worker.pid for worker in installation.workers}


async def test_a_crash_of_a_web_node_in_mid_post(installation: Cluster, flow: Traffic) -> None:
    web = installation.webs[0]
    await flow.wait_for_progress(50)

    dead = await crash(web)
    await flow.wait_for_failure("no connection")
    await flow.wait_for_progress(100)
    await asyncio.to_thread(web.start)
    await flow.wait_for_progress(50)

    assert await flow.stop_and_check() == []
    assert web.pid != dead
    assert flow.failure_counts["closed 1006"] > 0
    assert flow.failure_counts["unclear post"] > 0


async def test_a_restart_of_postgresql(installation: Cluster, flow: Traffic) -> None:
    before = installation.postgres.pid
    await flow.wait_for_progress(50)

    await asyncio.to_thread(installation.postgres.stop)
    await flow.wait_for_failure("unclear post")
    await asyncio.to_thread(installation.postgres.start)
    await flow.wait_for_progress(100)

    assert await flow.stop_and_check() == []
    assert installation.postgres.pid != before
    assert max(attempt.ended_at - attempt.started_at for attempt in flow.history.attempts) < ANSWER_SECONDS


async def test_a_crash_of_postgresql(installation: Cluster, flow: Traffic) -> None:
    await flow.wait_for_progress(50)

    dead = await crash(installation.postgres)
    await flow.wait_for_failure("unclear post")
    await asyncio.to_thread(installation.postgres.start)
    await flow.wait_for_progress(100)

    assert await flow.stop_and_check() == []
    assert installation.postgres.pid != dead


async def test_redis_forgets_everything_and_then_dies(
    installation: Cluster, http: aiohttp.ClientSession, flow: Traffic
) -> None:
    await flow.wait_for_progress(50)
    with Redis.from_url(installation.redis.url) as redis:
        known = redis.dbsize()
        redis.flushall()
    await flow.wait_for_progress(50)

    dead = await crash(installation.redis)
    missed = await away(http, installation)
    await flow.wait_for_progress(100)
    await asyncio.to_thread(installation.redis.start)
    await flow.wait_for_progress(50)

    assert await flow.stop_and_check() == []
    assert (known > 0, missed, installation.redis.pid != dead) == (True, {"redis"}, True)


async def test_no_broker_for_twenty_seconds(installation: Cluster, http: aiohttp.ClientSession, flow: Traffic) -> None:
    before = installation.kafka.pid
    await flow.wait_for_progress(50)

    await asyncio.to_thread(installation.kafka.stop)
    twenty_seconds = asyncio.create_task(asyncio.sleep(20))
    missed = await away(http, installation)
    await flow.wait_for_progress(200)
    await twenty_seconds
    await asyncio.to_thread(installation.kafka.start)
    await flow.wait_for_progress(100)

    assert await flow.stop_and_check() == []
    assert (missed, installation.kafka.pid != before) == ({"kafka"}, True)
    assert sum(web.metrics()["vyry_route_failures_total"] for web in installation.webs) > 0


async def test_a_web_node_leaves_politely(installation: Cluster, flow: Traffic) -> None:
    web = installation.webs[1]
    await flow.wait_for_progress(50)

    began = asyncio.get_running_loop().time()
    await asyncio.to_thread(web.stop)
    took = asyncio.get_running_loop().time() - began
    await flow.wait_for_progress(100)
    await asyncio.to_thread(web.start)
    await flow.wait_for_progress(50)

    assert await flow.stop_and_check() == []
    assert (flow.failure_counts["goodbye"] > 0, flow.failure_counts["closed 1001"] > 0, took < 15) == (True, True, True)
