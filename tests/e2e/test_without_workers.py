"""No worker lives: mail between web nodes arrives within a second all the same, and the operator sees what is missing."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from scripts.nodes import Cluster, WebProcess
from tests.support.device_socket import DeviceSocket
from tests.support.rest_device import NodeClient


pytestmark = pytest.mark.timeout(150)

#: Longer than it takes the web nodes to know: a heartbeat is missing for 5 s, and two checks found none.
KNOWN_SECONDS = 10


@pytest.fixture
async def no_workers(running_cluster: Cluster) -> AsyncIterator[Cluster]:
    """The cluster just after all its workers were killed. They are back after the test."""
    for worker in running_cluster.workers:
        await asyncio.to_thread(worker.kill)
    yield running_cluster
    for worker in running_cluster.workers:
        await asyncio.to_thread(worker.start)


def is_known(web: WebProcess) -> bool:
    """Whether the web node knows that no worker lives."""
    log = web.log()
    return log.rfind('"no_worker_alive"') > log.rfind('"workers_alive"')


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until other processes have made it so."""
    async with asyncio.timeout(KNOWN_SECONDS):
        while True:
            if await is_so():
                return
            await asyncio.sleep(0.2)


async def until_known(cluster: Cluster) -> None:
    """Wait until both web nodes know."""

    async def all_know() -> bool:
        return all(is_known(web) for web in cluster.webs)

    await until(all_know)


async def missing(http: aiohttp.ClientSession, cluster: Cluster) -> set[str]:
    """What the web nodes say they lack."""
    found = set()
    for web in cluster.webs:
        async with http.get(f"{web.url}/ready") as answer:
            assert answer.status == 200
            said = await answer.json()
        found |= {each["problem"] for each in said["dependencies"] if not each["isUp"]}
    return found


async def test_mail_between_nodes_arrives_within_a_second_before_and_after_the_loss_is_known(
    nodes: list[NodeClient], no_workers: Cluster
) -> None:
    ann, bo = await nodes[0].sign_up(), await nodes[1].sign_up()
    conversation = await ann.open_direct(bo)
    line = await DeviceSocket.connect_and_resume(bo, nodes[1].url)
    waits: list[float] = []

    async with asyncio.timeout(60):
        while len(waits) < 3 or not is_known(no_workers.webs[0]):
            count = len(bo.received)
            await ann.post(conversation, bo, b"across")
            accepted = time.monotonic()
            await line.wait_for_entries(count + 1)
            waits.append(time.monotonic() - accepted)
    await line.close()

    assert max(waits) < 1


async def test_the_operator_sees_that_no_worker_lives(no_workers: Cluster, http: aiohttp.ClientSession) -> None:
    async def is_named() -> bool:
        return await missing(http, no_workers) == {"no worker lives: start `vyry worker`"}

    await until_known(no_workers)
    await until(is_named)

    assert [web.metrics()["vyry_workers"] for web in no_workers.webs] == [0, 0]


async def test_mail_for_a_device_that_is_away_is_deposited_by_the_node_that_took_it(
    nodes: list[NodeClient], no_workers: Cluster
) -> None:
    ann, bo = await nodes[0].sign_up(), await nodes[1].sign_up()
    conversation, web = await ann.open_direct(bo), no_workers.webs[0]
    await until_known(no_workers)
    before = web.metrics()["vyry_deposit_total"]

    await ann.post(conversation, bo, b"for later")
    await asyncio.sleep(0.5)
    after = web.metrics()["vyry_deposit_total"]
    await bo.collect()

    assert (after - before, bo.contents) == (1, [b"for later"])
