"""Partitions move while mail is under way, on three brokers with three workers: each command does what it says, and nothing is lost, doubled or disordered."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from scripts.nodes import Cluster, open_cluster
from tests.e2e.conftest import MARKED_CONTENT
from tests.support.partition_operator import PartitionOperator
from tests.support.rest_device import NodeClient
from tests.support.traffic import Traffic, traffic


pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def three_workers() -> Iterator[Cluster]:
    """Two web nodes, three workers and three brokers, with six partitions."""
    with open_cluster(webs=2, workers=3, brokers=3, settings={"VYRY_PARTITIONS": "6"}) as made:
        yield made


@pytest.fixture
async def operator(three_workers: Cluster) -> PartitionOperator:
    """The operator of that cluster, once all its partitions have a worker."""
    made = PartitionOperator(three_workers)
    await made.wait_until_ok()
    return made


@pytest.fixture
async def mail(three_workers: Cluster, http: aiohttp.ClientSession) -> AsyncIterator[Traffic]:
    """Mail under way over both web nodes."""
    nodes = [NodeClient(http, web.url, three_workers.otp_file) for web in three_workers.webs]
    async with traffic(nodes, MARKED_CONTENT) as made:
        await made.wait_for_progress(20)
        yield made


async def test_a_moved_partition_arrives_and_no_other_moves(operator: PartitionOperator, mail: Traffic) -> None:
    before = await operator.owners()
    destination = next(owner for owner in before if owner != before[0])

    phases = await operator.apply(await operator.plan("move", "0", "--to", destination))
    await mail.wait_for_progress(20)

    assert [each["phase"] for each in phases] == ["announced", "released", "taken", "settled"]
    assert await operator.owners() == [destination, *before[1:]]
    assert (await operator.run("history", "--limit", "1"))[0]["cause"] == "operator"
    assert await mail.stop_and_check() == []


async def test_an_interrupted_drain_continues_and_the_worker_is_back_after_a_restart(
    three_workers: Cluster, operator: PartitionOperator, mail: Traffic
) -> None:
    [(name, count)] = Counter(await operator.owners()).most_common(1)
    plan = await operator.plan("drain", name)

    assert await operator.interrupt(plan) == 130
    settled = await operator.apply(plan)
    await mail.wait_for_progress(20)

    assert len({each["partition"] for each in settled}) < len(plan["moves"]) == count
    drained = await operator.wait_until_ok()
    row = next(each for each in drained["workers"] if each["worker"] == name)
    assert (row["state"], row["partitions"]) == ("draining", 0)
    await restart_all(three_workers, operator)
    assert {each["state"] for each in (await operator.show())["workers"]} == {"live"}
    assert await mail.stop_and_check() == []


async def test_a_rebalance_spreads_the_load_over_all_workers(operator: PartitionOperator, mail: Traffic) -> None:
    first, second, _ = (each["worker"] for each in (await operator.show())["workers"])
    for number, owner in enumerate(await operator.owners()):
        if owner == second:
            await operator.apply(await operator.plan("move", str(number), "--to", first))
    before = await operator.wait_until_ok()

    await operator.apply(await operator.plan("rebalance"))
    await mail.wait_for_progress(20)

    assert set(await operator.owners()) == {each["worker"] for each in before["workers"]}
    assert (await operator.wait_until_ok())["skew"] < before["skew"]
    assert await mail.stop_and_check() == []


async def test_an_abort_leads_back(operator: PartitionOperator, mail: Traffic) -> None:
    before = await operator.owners()
    [(busiest, _)] = Counter(before).most_common(1)
    plan = await operator.plan("drain", busiest)
    assert await operator.interrupt(plan) == 130

    await operator.run("abort")

    assert await operator.owners() == before
    assert {each["state"] for each in (await operator.show())["workers"]} == {"live"}
    assert await mail.stop_and_check() == []


async def test_a_grown_topic_has_a_worker_for_each_partition(operator: PartitionOperator, mail: Traffic) -> None:
    await operator.apply(await operator.plan("grow", "9"))
    await mail.wait_for_progress(20)

    found = await operator.wait_until_ok()

    assert (len(found["partitions"]), found["generation"]) == (9, 2)
    assert await mail.stop_and_check() == []


async def restart_all(cluster: Cluster, operator: PartitionOperator) -> None:
    """Restart the workers one after the other, as for an upgrade."""
    for worker in cluster.workers:
        worker.stop()
        worker.start()
        await operator.wait_until_ok()
