"""How late mail is after one fault: with sparse traffic, so that no later envelope brings the one whose hint was lost. Each test prints its figure."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis import Redis

from scripts.nodes import Cluster
from tests.e2e.conftest import MARKED_CONTENT
from tests.support.lateness import worst_lateness
from tests.support.rest_device import NodeClient
from tests.support.traffic import Traffic, traffic


pytestmark = pytest.mark.timeout(150)

#: The bound of a single fault (docs/operations.md, "When a dependency is down").
LATE_SECONDS = 1.0
Fault = Callable[[Cluster], Awaitable[float]]


@pytest.fixture
async def sparse_traffic(nodes: list[NodeClient]) -> AsyncIterator[Traffic]:
    """Thirty devices over both web nodes, each with a post every 1.2 s."""
    async with traffic(nodes, MARKED_CONTENT, devices=30, pause_seconds=1.2) as made:
        await made.wait_for_progress(40)
        yield made


async def redis_forgets(cluster: Cluster) -> float:
    """FLUSHALL, several times: each hits the checks of the nodes at another moment."""
    with Redis.from_url(cluster.redis.url) as redis:
        for _ in range(4):
            redis.flushall()
            await asyncio.sleep(2.3)
    return 0.0


async def redis_is_killed(cluster: Cluster) -> float:
    await asyncio.to_thread(cluster.redis.kill)
    await asyncio.sleep(5)
    await asyncio.to_thread(cluster.redis.start)
    await asyncio.sleep(3)
    return 0.0


async def redis_stalls(cluster: Cluster) -> float:
    os.kill(cluster.redis.pid, signal.SIGSTOP)
    await asyncio.sleep(5)
    os.kill(cluster.redis.pid, signal.SIGCONT)
    await asyncio.sleep(3)
    return 0.0


async def channels_are_cut(cluster: Cluster) -> float:
    with Redis.from_url(cluster.redis.url) as redis:
        for _ in range(3):
            redis.client_kill_filter(_type="pubsub")
            await asyncio.sleep(2)
    return 0.0


async def web_node_is_killed(cluster: Cluster) -> float:
    await asyncio.to_thread(cluster.webs[0].kill)
    await asyncio.sleep(4)
    await asyncio.to_thread(cluster.webs[0].start)
    return 0.0


async def web_node_is_stopped(cluster: Cluster) -> float:
    await asyncio.to_thread(cluster.webs[1].stop)
    await asyncio.sleep(4)
    await asyncio.to_thread(cluster.webs[1].start)
    return 0.0


async def database_restarts(cluster: Cluster) -> float:
    await asyncio.to_thread(cluster.postgres.stop)
    await asyncio.sleep(4)
    await asyncio.to_thread(cluster.postgres.start)
    back = time.monotonic()
    await asyncio.sleep(5)
    return back


async def database_is_killed(cluster: Cluster) -> float:
    await asyncio.to_thread(cluster.postgres.kill)
    await asyncio.sleep(4)
    await asyncio.to_thread(cluster.postgres.start)
    back = time.monotonic()
    await asyncio.sleep(5)
    return back


FAULTS = (
    redis_forgets,
    redis_is_killed,
    redis_stalls,
    channels_are_cut,
    web_node_is_killed,
    web_node_is_stopped,
    database_restarts,
    database_is_killed,
)


@pytest.mark.parametrize("fault", FAULTS, ids=[each.__name__ for each in FAULTS])
async def test_one_fault_makes_no_mail_later_than_a_second(
    running_cluster: Cluster, sparse_traffic: Traffic, fault: Fault
) -> None:
    sparse_traffic.away_seconds.clear()
    began = time.monotonic() - 0.5

    # The time until the database is back does not count.
    back = await fault(running_cluster)
    await sparse_traffic.wait_for_progress(60)

    problems = await sparse_traffic.stop_and_check()
    late = worst_lateness(sparse_traffic.history, after=began, not_before=back)
    print(
        f"{fault.__name__}: mail at most {late:.2f} s late, devices away at most {max(sparse_traffic.away_seconds, default=0):.2f} s"
    )
    assert problems == []
    assert late < LATE_SECONDS
