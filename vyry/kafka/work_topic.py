"""The work topic in Kafka: sends work records to the mailbox agents. A record may be lost; no caller waits for it, and the sweeper finds its mailboxes.

Each partition has at most one record under way, so a partition whose broker is away delays no other: its mailboxes gather, up to one record of them.

Known problems of aiokafka 0.14: idempotent batches never expire while the broker is down, and after an error that is not retried only a new producer can
continue (aiokafka#1017), so records are sent without idempotence; stop() hangs while the broker is down (#1101).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Never

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from vyry.errors import Unavailable
from vyry.kafka.topic import TopicMissing, log_missing_topic
from vyry.kafka.url import client_options, topic_name
from vyry.kernel.ids import MailboxKey
from vyry.mail.work_record import KEYS_PER_RECORD, pack, partition_of
from vyry.mail.workers import PartitionMap
from vyry.outage import OutageTracker
from vyry.telemetry import log, record
from vyry.tracing import TRACE_HEADER, pack_contexts, trace_step


DEADLINE_SECONDS: Final = 5.0
#: After a turn that sent records the next one waits for so long per mailbox, at most a tick: single mailboxes leave at once, and under load records
#: gather (a shorter tick costs more there: docs/performance.md).
SECONDS_A_MAILBOX: Final = 0.001
TICK_SECONDS: Final = 0.010
#: How often the map of the database is read, and the age at which a record counts as stuck.
MAP_SECONDS: Final = 1.0
STUCK_SECONDS: Final = 1.0
ReadMap = Callable[[], Awaitable[PartitionMap | None]]


class KafkaWorkTopic:
    """Collects mailboxes and sends them as work records on their partitions, as many as the map of the database has.

    `run` reconnects after failures. Without a connection mailboxes are dropped: the sweeper finds them. Without a map the topic decides.
    """

    def __init__(self, url: str, read_map: ReadMap) -> None:
        self._url = url
        self._topic = topic_name(url)
        self._read_map = read_map
        self._map: PartitionMap | None = None
        self._partitions: list[_PartitionQueue] = []
        self._wake = asyncio.Event()
        self._outage = OutageTracker("kafka")
        self._stuck = _StuckPartitions()
        self._lost = 0
        self._too_small = (0, 0)

    @property
    def is_connected(self) -> bool:
        """Whether records can be sent."""
        return bool(self._partitions)

    @property
    def depth(self) -> int:
        """The mailboxes that wait for the next work records."""
        return sum(len(each.mailboxes) for each in self._partitions)

    @property
    def partitions(self) -> int:
        """The number of partitions that mailboxes are spread over; 0 without a connection."""
        return len(self._partitions)

    def add(self, mailbox: MailboxKey) -> bool:
        if not self._partitions:
            self._lost += 1
            return False
        queue = self._partitions[partition_of(mailbox, len(self._partitions))]
        self._wake.set()
        return queue.add(mailbox) and not queue.is_stuck

    async def run(self) -> None:
        """Send until cancelled, after any failure with a new producer."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_map())
            while True:
                _stop_if_cancelled()
                try:
                    await self._run_producer()
                except Exception as problem:  # noqa: BLE001 - no error of the driver may end the node
                    if isinstance(problem, TopicMissing) and not self._outage.is_down:
                        log_missing_topic(self._topic)
                    await asyncio.sleep(self._outage.record_failure(problem))

    async def _follow_map(self) -> Never:
        """Read the map of the database once a second: its own task, because a database that is down must not delay records."""
        while True:
            with suppress(Unavailable):
                self._map = await self._read_map()
            await asyncio.sleep(MAP_SECONDS)

    async def _run_producer(self) -> Never:
        """Send with one producer until it fails."""
        try:
            async with _running_producer(self._url) as producer:
                self._resize(await _count_partitions(producer, self._topic, at_least=1))
                self._outage.record_success()
                await self._send_loop(producer)
        finally:
            self._count_lost(sum(each.drop() for each in self._partitions))
            self._partitions = []
            self._wake.clear()

    async def _send_loop(self, producer: AIOKafkaProducer) -> Never:
        look_at = 0.0
        while True:
            _stop_if_cancelled()
            if time.monotonic() >= look_at:
                await self._follow_topic(producer)
                look_at = time.monotonic() + MAP_SECONDS
            with suppress(TimeoutError):
                # Also without new mailboxes the records under way are checked.
                async with asyncio.timeout(MAP_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            lost, waiting = 0, self.depth
            for number, queue in enumerate(self._partitions):
                lost += await queue.send(producer, self._topic, number, self._wake)
            self._count_lost(lost)
            self._stuck.report({number for number, queue in enumerate(self._partitions) if queue.is_stuck})
            await asyncio.sleep(pause_seconds(waiting))

    async def _follow_topic(self, producer: AIOKafkaProducer) -> None:
        """Use as many partitions as the map has, as far as the topic has them."""
        wanted = self._map.partitions if self._map else len(self._partitions)
        if wanted == len(self._partitions):
            return
        # While brokers are away the partitions stay as they are.
        with suppress(KafkaError, TimeoutError, TopicMissing):
            self._resize(await _count_partitions(producer, self._topic, at_least=wanted))

    def _resize(self, there: int) -> None:
        wanted = self._map.partitions if self._map else there
        if wanted > there and self._too_small != (wanted, there):
            self._too_small = (wanted, there)
            log.error("topic_too_small", topic=self._topic, partitions=there, count=wanted)
        count = min(wanted, there)
        if count == len(self._partitions):
            return
        log.info("partition_map_followed", topic=self._topic, partitions=count)
        waiting = [mailbox for each in self._partitions for mailbox in each.mailboxes]
        for each in self._partitions:
            each.mailboxes = set()
        self._partitions = [*self._partitions[:count], *(_PartitionQueue() for _ in range(count - self.partitions))]
        for mailbox in waiting:
            self.add(mailbox)

    def _count_lost(self, lost: int) -> None:
        lost, self._lost = lost + self._lost, 0
        if lost:
            record("route", lost, 0.0, failures=lost)


class _PartitionQueue:
    """One partition: the mailboxes of its next record, and the record that is under way."""

    def __init__(self) -> None:
        self.mailboxes: set[MailboxKey] = set()
        self._under_way: asyncio.Future[object] | None = None
        self._count = 0
        self._since = 0.0
        #: Records do not arrive. New ones are tried, and one that arrives ends it.
        self.is_stuck = False

    def add(self, mailbox: MailboxKey) -> bool:
        """Returns False when the next record is full."""
        if len(self.mailboxes) >= KEYS_PER_RECORD and mailbox not in self.mailboxes:
            return False
        self.mailboxes.add(mailbox)
        return True

    async def send(self, producer: AIOKafkaProducer, topic: str, number: int, wake: asyncio.Event) -> int:
        """Give the next record to the producer unless one is under way; returns how many mailboxes the last one lost. Raises when the producer is unusable."""
        lost = self._settle()
        now = time.monotonic()
        if self.mailboxes and self._under_way is None:
            mailboxes, self.mailboxes = self.mailboxes, set()
            self._count, self._since = len(mailboxes), now
            async with asyncio.timeout(DEADLINE_SECONDS):
                trace_step("route", mailboxes, time.perf_counter())
                contexts = pack_contexts(mailboxes)
                headers = [(TRACE_HEADER, contexts)] if contexts else None
                self._under_way = await producer.send(topic, pack(mailboxes), partition=number, headers=headers)
            self._under_way.add_done_callback(lambda outcome: _on_done(outcome, wake))
        waited = now - self._since if self._under_way is not None else 0.0
        self.is_stuck = self.is_stuck or waited > STUCK_SECONDS
        if waited > 2 * DEADLINE_SECONDS:
            # aiokafka should have given it up by now.
            raise TimeoutError("a work record was not sent in time")
        return lost

    def _settle(self) -> int:
        if self._under_way is None or not self._under_way.done():
            return 0
        outcome, self._under_way = self._under_way, None
        self.is_stuck = not _is_delivered(outcome)
        return self._count if self.is_stuck else 0

    def drop(self) -> int:
        """The producer has ended; returns how many mailboxes are lost."""
        is_lost = self._under_way is not None and not _is_delivered(self._under_way)
        return len(self.mailboxes) + (self._count if is_lost else 0)


class _StuckPartitions:
    """Logs once when records of some partitions do not arrive, and once when all do again."""

    def __init__(self) -> None:
        self._stuck: set[int] = set()

    def report(self, stuck: set[int]) -> None:
        """These are stuck now."""
        if stuck - self._stuck:
            log.warning("partitions_unreachable", partitions=sorted(stuck))
        elif self._stuck and not stuck:
            log.info("partitions_reachable")
        self._stuck = stuck


def pause_seconds(mailboxes: int) -> float:
    """How long the mailboxes of the next turn gather after a turn with so many."""
    return min(TICK_SECONDS, mailboxes * SECONDS_A_MAILBOX)


def _on_done(outcome: asyncio.Future[object], wake: asyncio.Event) -> None:
    # Retrieves the exception, which asyncio would log otherwise.
    _is_delivered(outcome)
    wake.set()


def _is_delivered(outcome: asyncio.Future[object]) -> bool:
    return outcome.done() and not outcome.cancelled() and outcome.exception() is None


def _stop_if_cancelled() -> None:
    """Aiokafka waits by asyncio.wait_for, which on Python 3.11 can swallow a cancellation (python/cpython#86296); the task still knows."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _count_partitions(producer: AIOKafkaProducer, topic: str, at_least: int) -> int:
    """The partitions of the topic, asked anew when fewer than `at_least` are known. Raises TopicMissing."""
    client = producer.client
    async with asyncio.timeout(DEADLINE_SECONDS):
        known = client.cluster.partitions_for_topic(topic)
        if not known and topic not in (await client.fetch_all_metadata()).topics():
            # Asked for by its name it would be created, by brokers that do so.
            raise TopicMissing(topic)
        if not known or len(known) < at_least:
            client.add_topic(topic)
            await client.force_metadata_update()
        found = client.cluster.partitions_for_topic(topic)
    if not found:
        raise TopicMissing(topic)
    return len(found)


def new_producer(url: str) -> AIOKafkaProducer:
    """A producer whose records expire: one replica acknowledges them, because they are hints and another replica adds nothing but waiting."""
    return AIOKafkaProducer(
        **client_options(url),
        acks=1,
        enable_idempotence=False,
        linger_ms=0,
        request_timeout_ms=int(DEADLINE_SECONDS * 1000),
        retry_backoff_ms=100,
        metadata_max_age_ms=30_000,
        max_batch_size=KEYS_PER_RECORD * 8 + 1024,
    )


@asynccontextmanager
async def _running_producer(url: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = new_producer(url)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await producer.start()
        yield producer
    finally:
        await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Flush for a moment, then stop, within 5 s in any case."""
    try:
        async with asyncio.timeout(1.5):
            await producer.flush()
            await producer.stop()
    except Exception:  # noqa: BLE001 - the producer is given up in any case
        # aiokafka 0.14 has no public way to drop pending records, and stop() waits for them for ever (aiokafka#1101).
        producer._closed = True  # noqa: SLF001
        for close in (producer._sender.close, producer.client.close):  # noqa: SLF001
            with suppress(Exception):  # nosemgrep: nothing-swallowed - the producer is given up anyway
                async with asyncio.timeout(1.5):
                    await close()
