"""Several workers on one topic: the partitions are shared out, and go on with the others when one leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager

import faust
import pytest

from agents import progress
from agents.transport import WorkerConsumer
from scripts.kafka_cluster import KafkaCluster
from tests.support.work_topics import no_map, run_agents, run_tasks
from vyry.kafka.assignor import WorkerAssignor
from vyry.kafka.topic import ensure_topic, read_topic
from vyry.kafka.work_topic import KafkaWorkTopic
from vyry.kernel.ids import MailboxKey
from vyry.mail.assignment import Wishes


class Worker:
    """The agents of one worker: what it owns, and what it was fed."""

    def __init__(self, name: str, changed: asyncio.Event) -> None:
        self.changed = changed
        self.owned: set[int] = set()
        self.fed: set[MailboxKey] = set()
        self.apps: list[faust.App] = []
        self.assignor = WorkerAssignor(name)

    def assigned(self, partitions: Collection[int]) -> None:
        self.owned = set(partitions)
        self.changed.set()

    def use_app(self, app: faust.App | None) -> None:
        self.apps += [app] if app else []
        self.changed.set()

    def wish(self, wishes: Wishes) -> None:
        """The operator wants this, and this worker hears of it first."""
        self.assignor.wishes = wishes
        consumer = self.apps[-1].consumer
        assert isinstance(consumer, WorkerConsumer)
        consumer.request_rejoin()

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.fed.update(mailboxes)


@asynccontextmanager
async def open_worker(url: str, name: str, changed: asyncio.Event) -> AsyncIterator[Worker]:
    worker = Worker(name, changed)
    agents = run_agents(url, worker, name, worker.assigned, on_app=worker.use_app, assignor=worker.assignor)
    async with run_tasks(agents):
        yield worker


@asynccontextmanager
async def open_topic(url: str) -> AsyncIterator[KafkaWorkTopic]:
    topic = KafkaWorkTopic(url, no_map)
    async with run_tasks(topic.run()):
        yield topic


async def wait_for_assignment(workers: list[Worker], share: int) -> None:
    """Wait until each worker owns as many partitions as that, no two the same."""
    async with asyncio.timeout(40):
        while [len(worker.owned) for worker in workers] != [share] * len(workers) or not all(
            each.apps for each in workers
        ):
            await workers[0].changed.wait()
            workers[0].changed.clear()
    assert sorted(partition for worker in workers for partition in worker.owned) == [0, 1, 2, 3]


async def delivered(topic: KafkaWorkTopic, workers: list[Worker], numbers: Iterable[int]) -> None:
    """Add these until all have come: hints during a rebalance may be lost, which the sweeper mends."""
    wanted = {MailboxKey(number) for number in numbers}
    async with asyncio.timeout(20):
        while missing := wanted - {mailbox for worker in workers for mailbox in worker.fed}:
            for mailbox in missing:
                topic.add(mailbox)
            await asyncio.sleep(0.1)


async def test_two_workers_share_the_partitions_and_one_takes_over_when_the_other_leaves(
    kafka_url: str, topic_prefix: str
) -> None:
    url, changed = f"{kafka_url}/{topic_prefix}", asyncio.Event()
    await ensure_topic(url, partitions=4)
    async with open_topic(url) as topic, open_worker(url, "ann", changed) as first:
        async with open_worker(url, "bob", changed) as second:
            await wait_for_assignment([first, second], share=2)
            await delivered(topic, [first, second], range(1, 41))
            assert {mailbox % 4 for mailbox in second.fed} == second.owned

        await wait_for_assignment([first], share=4)
        await delivered(topic, [first], range(101, 141))


async def test_a_partition_goes_where_the_operator_wants_it_and_no_other_one_moves(
    kafka_url: str, topic_prefix: str
) -> None:
    url, changed = f"{kafka_url}/{topic_prefix}", asyncio.Event()
    await ensure_topic(url, partitions=4)
    async with open_worker(url, "ann", changed) as first, open_worker(url, "bob", changed) as second:
        await wait_for_assignment([first, second], share=2)
        moved, kept = sorted(first.owned)

        first.wish(Wishes(seen_at=1.0, targets={moved: "bob"}))
        async with asyncio.timeout(20):
            while (len(first.owned), len(second.owned)) != (1, 3):
                changed.clear()
                await changed.wait()

        assert (first.owned, moved in second.owned, kept in second.owned) == ({kept}, True, False)


async def test_agents_that_stopped_reading_start_again_by_themselves(
    kafka_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust is known to stop fetching after a rebalance."""
    monkeypatch.setattr(progress, "STALLED_SECONDS", 1.0)
    url, changed = f"{kafka_url}/{topic_prefix}", asyncio.Event()
    await ensure_topic(url, partitions=4)
    async with open_topic(url) as topic, open_worker(url, "ann", changed) as worker:
        await wait_for_assignment([worker], share=4)
        await delivered(topic, [worker], range(1, 5))

        worker.apps[0].consumer.stop_flow()

        await delivered(topic, [worker], range(101, 105))
        assert len(worker.apps) > 1


async def until(is_reached: Callable[[], bool]) -> None:
    """Wait for something that has no event."""
    async with asyncio.timeout(60):
        while not is_reached():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.05)


async def test_a_missing_topic_is_named_and_not_created(
    kafka_url: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url, changed = f"{kafka_url}/{topic_prefix}", asyncio.Event()
    async with open_topic(url), open_worker(url, "ann", changed):
        await until(lambda: "topic_missing" in capsys.readouterr().out)

    assert await read_topic(url) is None


@pytest.mark.timeout(300)
async def test_without_one_of_three_brokers_the_records_of_other_partitions_go_on() -> None:
    with KafkaCluster() as brokers:
        await ensure_topic(brokers.url, partitions=6)
        state = await read_topic(brokers.url)
        assert state is not None
        assert (state.replication, state.brokers, list(state.leaderless)) == (3, 3, [])
        async with open_topic(brokers.url) as topic:
            await until(lambda: topic.is_connected)

            def taken() -> list[bool]:
                return [topic.add(MailboxKey(number)) for number in range(6)]

            await asyncio.to_thread(brokers.brokers[0].kill)
            await until(lambda: not all(taken()))

            assert any(taken())
            # Another broker leads the partitions of the first one, once the controllers have noticed.
            await until(lambda: all(taken()))
