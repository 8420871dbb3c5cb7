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


async def away(http: aiohttp.ClientSession, running_cluster: Cluster) -> set[str]:
    """What the first web node says it cannot reach."""
    async with http.get(f"{running_cluster.webs[0].url}/ready") as answer:
        said = await answer.json()
    return {dependency["name"] for dependency in said["dependencies"] if not dependency["isUp"]}


async def test_nothing_breaks_and_every_process_does_its_part(
    running_cluster: Cluster, steady_traffic: Traffic
) -> None:
    await steady_traffic.wait_for_progress(200)

    assert await steady_traffic.stop_and_check() == []
    deposited = [node.metrics()["vyry_deposit_total"] for node in running_cluster.nodes]
    assert (min(deposited) > 0, len(deposited)) == (True, 4)


async def test_a_crash_of_a_worker(running_cluster: Cluster, steady_traffic: Traffic) -> None:
    worker = running_cluster.workers[0]
    await steady_traffic.wait_for_progress(50)

    dead = await crash(worker)
    await steady_traffic.wait_for_progress(200)
    await asyncio.to_thread(worker.start)
    await steady_traffic.wait_for_progress(50)

    assert await steady_traffic.stop_and_check() == []
    assert worker.pid != dead


async def test_a_crash_of_both_workers(running_cluster: Cluster, steady_traffic: Traffic) -> None:
    await steady_traffic.wait_for_progress(50)

    dead = [await crash(worker) for worker in running_cluster.workers]
    await asyncio.sleep(2)
    for worker in running_cluster.workers:
        await asyncio.to_thread(worker.start)
    await steady_traffic.wait_for_progress(100)

    assert await steady_traffic.stop_and_check() == []
    assert not set(dead) & {worker.pid for worker in running_cluster.workers}


async def test_a_crash_of_a_web_node_in_mid_post(running_cluster: Cluster, steady_traffic: Traffic) -> None:
    web = running_cluster.webs[0]
    await steady_traffic.wait_for_progress(50)

    dead = await crash(web)
    await steady_traffic.wait_for_failure("no connection")
    await steady_traffic.wait_for_progress(100)
    await asyncio.to_thread(web.start)
    await steady_traffic.wait_for_progress(50)

    assert await steady_traffic.stop_and_check() == []
    assert web.pid != dead
    assert steady_traffic.failure_counts["closed 1006"] > 0
    assert steady_traffic.failure_counts["unclear post"] > 0


async def test_a_restart_of_postgresql(running_cluster: Cluster, steady_traffic: Traffic) -> None:
    before = running_cluster.postgres.pid
    await steady_traffic.wait_for_progress(50)

    await asyncio.to_thread(running_cluster.postgres.stop)
    await steady_traffic.wait_for_failure("unclear post")
    await asyncio.to_thread(running_cluster.postgres.start)
    await steady_traffic.wait_for_progress(100)

    assert await steady_traffic.stop_and_check() == []
    assert running_cluster.postgres.pid != before
    assert max(attempt.ended_at - attempt.started_at for attempt in steady_traffic.history.attempts) < ANSWER_SECONDS


async def test_a_crash_of_postgresql(running_cluster: Cluster, steady_traffic: Traffic) -> None:
    await steady_traffic.wait_for_progress(50)

    dead = await crash(running_cluster.postgres)
    await steady_traffic.wait_for_failure("unclear post")
    await asyncio.to_thread(running_cluster.postgres.start)
    await steady_traffic.wait_for_progress(100)

    assert await steady_traffic.stop_and_check() == []
    assert running_cluster.postgres.pid != dead


async def test_redis_forgets_everything_and_then_dies(
    running_cluster: Cluster, http: aiohttp.ClientSession, steady_traffic: Traffic
) -> None:
    await steady_traffic.wait_for_progress(50)
    with Redis.from_url(running_cluster.redis.url) as redis:
        known = redis.dbsize()
        redis.flushall()
    await steady_traffic.wait_for_progress(50)

    dead = await crash(running_cluster.redis)
    missed = await away(http, running_cluster)
    await steady_traffic.wait_for_progress(100)
    await asyncio.to_thread(running_cluster.redis.start)
    await steady_traffic.wait_for_progress(50)

    assert await steady_traffic.stop_and_check() == []
    assert (known > 0, missed, running_cluster.redis.pid != dead) == (True, {"redis"}, True)


async def test_no_broker_for_twenty_seconds(
    running_cluster: Cluster, http: aiohttp.ClientSession, steady_traffic: Traffic
) -> None:
    before = running_cluster.kafka.pid
    await steady_traffic.wait_for_progress(50)

    await asyncio.to_thread(running_cluster.kafka.stop)
    twenty_seconds = asyncio.create_task(asyncio.sleep(20))
    missed = await away(http, running_cluster)
    await steady_traffic.wait_for_progress(200)
    await twenty_seconds
    await asyncio.to_thread(running_cluster.kafka.start)
    await steady_traffic.wait_for_progress(100)

    assert await steady_traffic.stop_and_check() == []
    assert (missed, running_cluster.kafka.pid != before) == ({"kafka"}, True)
    assert sum(web.metrics()["vyry_route_failures_total"] for web in running_cluster.webs) > 0


async def test_a_planned_stop_of_a_web_node_keeps_no_device_away(
    running_cluster: Cluster, steady_traffic: Traffic
) -> None:
    web = running_cluster.webs[1]
    await steady_traffic.wait_for_progress(50)
    steady_traffic.away_seconds.clear()

    began = asyncio.get_running_loop().time()
    await asyncio.to_thread(web.stop)
    took = asyncio.get_running_loop().time() - began
    await steady_traffic.wait_for_progress(100)
    await asyncio.to_thread(web.start)
    await steady_traffic.wait_for_progress(50)

    assert await steady_traffic.stop_and_check() == []
    assert (
        steady_traffic.failure_counts["goodbye"] > 0,
        steady_traffic.failure_counts["closed 1001"] > 0,
        took < 15,
    ) == (True, True, True)
    assert max(steady_traffic.away_seconds) < 1
