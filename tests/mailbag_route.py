"""A way of mailbags in a test's own process: what carries them, the agents, and a depositor that only notes what it is fed."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agents.app import kafka_app
from agents.room import tend, when_reachable
from vyry.adapters.kafka import KafkaMailbags
from vyry.ids import MailboxKey
from vyry.mail.routing import Mailbags
from vyry.outage import Outage


class Fed:
    """A depositor that only notes what it is fed."""

    def __init__(self) -> None:
        self.mailboxes: list[MailboxKey] = []
        self._more = asyncio.Event()

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.mailboxes += mailboxes
        self._more.set()

    async def until(self, wanted: set[MailboxKey]) -> None:
        """Wait until all of these have come."""
        async with asyncio.timeout(20):
            while not wanted <= set(self.mailboxes):
                self._more.clear()
                await self._more.wait()


@dataclass
class Route:
    mailbags: Mailbags
    fed: Fed


@asynccontextmanager
async def running(*loops: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """These loops, for as long as the context is open."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(loop) for loop in loops]
        yield
        for task in started:
            task.cancel()


@asynccontextmanager
async def by_kafka(url: str) -> AsyncIterator[Route]:
    """The way over the brokers of this URL, open for bags."""
    fed = Fed()
    bags = KafkaMailbags(url, partitions=3)
    agents = tend(when_reachable(url, lambda: kafka_app(url, fed, lambda _: None)), Outage("agents"))
    async with running(bags.run(), agents):
        # A new group hears what comes after its first fetch: knock until it opens.
        async with asyncio.timeout(40):
            while not fed.mailboxes:
                bags.add(MailboxKey(999))
                await asyncio.sleep(0.05)
        yield Route(bags, fed)
