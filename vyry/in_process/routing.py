"""Routing and notification inside one process: what Kafka and Redis do for several nodes. No call waits, and nothing is lost."""

import asyncio
import time
from collections.abc import Collection
from typing import Final
from uuid import UUID

from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import SESSION_ENDED, CacheTopic, NodeSockets
from vyry.mail.work_record import pack_records, partition_of
from vyry.telemetry import record
from vyry.tracing import trace_step


#: Two partitions and a tick of 2 ms were the cheapest of those measured for Faust inside the process (docs/performance.md).
PARTITIONS: Final = 2
TICK_SECONDS: Final = 0.002


class InProcessWorkTopic:
    """Work records for Faust on its in-process transport (agents/in_process.py)."""

    def __init__(self, partitions: int = PARTITIONS, tick_seconds: float = TICK_SECONDS) -> None:
        self._partitions = partitions
        self._tick_seconds = tick_seconds
        self._mailboxes: list[set[MailboxKey]] = [set() for _ in range(partitions)]
        self._wake = asyncio.Event()
        self._collected_at = 0.0

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        return self._partitions

    @property
    def depth(self) -> int:
        """The mailboxes that wait for the next work records."""
        return sum(map(len, self._mailboxes))

    def add(self, mailbox: MailboxKey) -> bool:
        self._mailboxes[partition_of(mailbox, self._partitions)].add(mailbox)
        self._wake.set()
        return True

    async def receive(self) -> dict[int, list[bytes]]:
        """Wait for mail, then return the work records by partition: the first call at once, further ones at most once a tick."""
        await self._wake.wait()
        loop = asyncio.get_running_loop()
        early = self._collected_at + self._tick_seconds - loop.time()
        if early > 0:
            await asyncio.sleep(early)
        self._collected_at = loop.time()
        self._wake.clear()
        mailboxes, self._mailboxes = self._mailboxes, [set() for _ in range(self._partitions)]
        return {partition: list(pack_records(some)) for partition, some in enumerate(mailboxes) if some}


class InProcessNotifier:
    """The notifier of a node that runs alone."""

    def __init__(self, sockets: NodeSockets) -> None:
        self._held: dict[MailboxKey, int] = {}
        self._sockets = sockets

    @property
    def is_in_doubt(self) -> bool:
        """Never: nothing is lost inside a process."""
        return False

    async def notify(self, mailboxes: Collection[MailboxKey]) -> None:
        began = time.perf_counter()
        here = self._held.keys() & mailboxes
        if here:
            self._sockets.current.on_notify(here)
        record("notify", len(here), time.perf_counter() - began)
        trace_step("notify", here, began)

    async def register_socket(self, mailbox: MailboxKey, connection: int) -> None:
        older = self._held.get(mailbox)
        if older is None or older <= connection:
            self._held[mailbox] = connection
        if older is not None and older != connection:
            self._sockets.current.on_displaced(mailbox, max(older, connection))

    async def unregister_socket(self, mailbox: MailboxKey, connection: int) -> None:
        if self._held.get(mailbox) == connection:
            del self._held[mailbox]

    async def close_sockets(self, mailboxes: Collection[MailboxKey]) -> None:
        for mailbox in self._held.keys() & mailboxes:
            del self._held[mailbox]
            self._sockets.current.on_displaced(mailbox, SESSION_ENDED)

    async def relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> set[MailboxKey]:
        here = self._held.keys() & mailboxes
        if here:
            self._sockets.current.on_relay(here, frame)
        return here

    async def invalidate(self, topic: CacheTopic, ids: Collection[UUID]) -> None:
        self._sockets.current.on_invalidated(topic, ids)
