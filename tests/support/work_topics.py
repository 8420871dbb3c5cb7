"""Work topics in the process of the test: the topic, the mailbox agents, and a depositor that records its mailboxes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Never

import faust

from agents.app import GroupMember, build_when_topic_exists, kafka_app
from agents.progress import Progress
from agents.running import keep_running
from vyry.clock import SystemClock
from vyry.kafka.assignor import WorkerAssignor
from vyry.kafka.topic import ensure_topic
from vyry.kafka.work_topic import KafkaWorkTopic
from vyry.kernel.ids import MailboxKey
from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.routing import DepositQueue, WorkTopic
from vyry.mail.workers import PartitionMap
from vyry.outage import OutageTracker


class RecordingDepositor:
    """A depositor that only notes what it is fed."""

    def __init__(self) -> None:
        self.mailboxes: list[MailboxKey] = []
        self._more = asyncio.Event()

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.mailboxes += mailboxes
        self._more.set()

    async def wait_for(self, wanted: set[MailboxKey]) -> None:
        """Wait until all of these have come."""
        async with asyncio.timeout(20):
            while not wanted <= set(self.mailboxes):
                self._more.clear()
                await self._more.wait()


@dataclass
class WorkTopicSetup:
    topic: WorkTopic
    depositor: RecordingDepositor


@asynccontextmanager
async def run_tasks(*loops: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """These loops, for as long as the context is open."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(loop) for loop in loops]
        yield
        for task in started:
            task.cancel()


async def no_map() -> PartitionMap | None:
    """Without a map the topic decides how many partitions there are."""
    return None


async def run_agents(
    url: str,
    depositor: DepositQueue,
    name: str,
    on_assigned: Callable[[Collection[int]], None] = lambda _: None,
    *,
    on_app: Callable[[faust.App | None], None] = lambda _: None,
    assignor: WorkerAssignor | None = None,
) -> Never:
    """The mailbox agents of a worker of this name."""
    meter = PartitionMeter(SystemClock())
    member = GroupMember(
        name=name, assignor=assignor or WorkerAssignor(name), on_revoked=lambda: None, on_assigned=on_assigned
    )
    factory = build_when_topic_exists(url, lambda: kafka_app(url, depositor, meter, member))
    await keep_running(factory, OutageTracker("agents"), Progress(meter), on_app)


@asynccontextmanager
async def open_kafka_topic(url: str) -> AsyncIterator[WorkTopicSetup]:
    """The way over the brokers of this URL, open for work records."""
    fed = RecordingDepositor()
    await ensure_topic(url, partitions=3)
    topic = KafkaWorkTopic(url, no_map)
    async with run_tasks(topic.run(), run_agents(url, fed, "ann")):
        # A new group hears what comes after its first fetch: knock until it opens.
        async with asyncio.timeout(40):
            while not fed.mailboxes:
                topic.add(MailboxKey(999))
                await asyncio.sleep(0.05)
        yield WorkTopicSetup(topic, fed)
