"""Several workers on one topic: the partitions are shared out, and go on with the others when one leaves."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

from tests.support.work_topics import no_map, run_agents, run_tasks
from vyry.kafka.topic import ensure_topic
from vyry.kafka.work_topic import KafkaWorkTopic
from vyry.kernel.ids import MailboxKey


class Worker:
    """The agents of one worker: what it owns, and what it was fed."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.changed = changed
        self.owned: set[int] = set()
        self.fed: set[MailboxKey] = set()

    def assigned(self, partitions: Collection[int]) -> None:
        self.owned = set(partitions)
        self.changed.set()

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.fed.update(mailboxes)


@asynccontextmanager
async def open_worker(url: str, name: str, changed: asyncio.Event) -> AsyncIterator[Worker]:
    worker = Worker(changed)
    async with run_tasks(run_agents(url, worker, name, worker.assigned)):
        yield worker


@asynccontextmanager
async def open_topic(url: str) -> AsyncIterator[KafkaWorkTopic]:
    topic = KafkaWorkTopic(url, no_map)
    async with run_tasks(topic.run()):
        yield topic


async def wait_for_assignment(workers: list[Worker], share: int) -> None:
    """Wait until each worker owns as many partitions as that, no two the same."""
    async with asyncio.timeout(40):
        while [len(worker.owned) for worker in workers] != [share] * len(workers):
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
