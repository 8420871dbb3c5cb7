"""Faust's Kafka transport with our assignor, short fetches, and a clean stop that leaves the group.

Written for Faust 0.15.3 and aiokafka 0.14, neither of which has a setting for these (tests/integration/test_worker_partitions.py fails when a name changes):
Faust takes aiokafka's round robin, which moves every partition at each join, and lets a broker hold a fetch for 1.5 s, which delays the first fetch after a
rebalance by as much; aiokafka never leaves the group when it has a static name, so its partitions would wait for the session time-out.
"""
# ruff: noqa: SLF001 - these classes complete Faust's and aiokafka's own

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, AppT
from yarl import URL


FETCH_WAIT_MS: Final = 200
ASK_SECONDS: Final = 2.0


class WorkerConsumerThread(AIOKafkaConsumerThread):
    """The thread of the consumer."""

    transport: "WorkerTransport"

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._partition_assignment_strategy = (transport.assignor,)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    def request_rejoin(self) -> None:
        """Start a rebalance: the data that the worker joins with has changed."""
        consumer = self._consumer
        if consumer is not None and consumer._coordinator is not None:
            self.thread_loop.call_soon_threadsafe(consumer._coordinator.request_rejoin)

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of aiokafka's consumer in its thread.

        Not by Faust's queue: it has two workers, and two calls that wait for a broker would hold up a rebalance.
        """
        call = getattr(self._ensure_consumer(), method)(*arguments)
        async with asyncio.timeout(ASK_SECONDS):
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self.thread_loop))

    async def on_thread_stop(self) -> None:
        """Leave the group at once when the process ends."""
        consumer = self._consumer
        if self.transport.is_leaving and consumer is not None and consumer._coordinator is not None:
            consumer._coordinator._group_instance_id = None
        await super().on_thread_stop()


class WorkerConsumer(Consumer):
    """The consumer of an app."""

    def _new_consumer_thread(self) -> WorkerConsumerThread:
        return WorkerConsumerThread(self, loop=self.loop, beacon=self.beacon)

    _thread: WorkerConsumerThread

    def request_rejoin(self) -> None:
        """Start a rebalance."""
        self._thread.request_rejoin()

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """The ends of these partitions, asked from the brokers. Raises KafkaError or TimeoutError."""
        found: Mapping[TP, int] = await self._thread.ask("end_offsets", list(partitions))
        return found

    async def position(self, tp: TP) -> int | None:
        """The offset that is fetched next. Raises TimeoutError while it is not known."""
        found: int = await self._thread.ask("position", tp)
        return found


class WorkerTransport(Transport):
    """Creates the consumer of one app. `is_leaving` is set before the app stops because its process ends."""

    Consumer = WorkerConsumer

    def __init__(self, urls: list[URL], app: AppT, assignor: object) -> None:
        super().__init__(urls, app)
        self.assignor = assignor
        self.is_leaving = False
