"""Route over Kafka: mailbags to the mailbox agents. A hint may be lost with the broker; nothing here waits for it, and the sweeper mends it.

Traps of aiokafka 0.14 kept in mind: idempotent batches never expire while the broker is away, so every outcome has a deadline of ours; a sequence number
is used up before the send, so after an error that is not retried only a new producer can go on (aiokafka#1017); stop() hangs with the broker away (#1101).
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Never

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from vyry.kafka.url import parse_access, parse_brokers, topic_name
from vyry.kernel.ids import MailboxKey
from vyry.mail.work_record import KEYS_PER_RECORD, pack_records, partition_of
from vyry.outage import OutageTracker
from vyry.telemetry import record


DEADLINE_SECONDS: Final = 5.0
#: The first bag leaves at once, then at most one lot each tick (a shorter tick is slower: docs/performance.md).
TICK_SECONDS: Final = 0.010
_OUTAGE_ERRORS: Final = (KafkaError, OSError, TimeoutError, AssertionError)


async def ensure_topic(url: str, partitions: int, replication: int = 1) -> bool:
    """Make the topic of mailbags if there is none; answers whether it was made. Harmless when several ask at once.

    Raises KafkaError, OSError or TimeoutError when the broker is away for `DEADLINE_SECONDS`.
    """
    name = topic_name(url)
    admin = AIOKafkaAdminClient(**client_options(url), request_timeout_ms=int(DEADLINE_SECONDS * 1000))
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await admin.start()
            if name in await admin.list_topics():
                return False
            answer = await admin.create_topics([NewTopic(name, partitions, replication)])
    finally:
        with suppress(*_OUTAGE_ERRORS):
            async with asyncio.timeout(1):
                await admin.close()
    code: int = answer.topic_errors[0][1]
    if code not in (0, TopicAlreadyExistsError.errno):
        raise KafkaError(f"the broker refuses topic {name}: {answer.topic_errors[0]}")
    return code == 0


class KafkaWorkTopic:
    """Fills mailbags and sends them on the partition of their mailboxes' agent.

    `run` makes the topic if there is none (with `partitions`), carries the bags and keeps the connection; until it is there, and while the broker is away, bags are dropped: they are hints.
    """

    def __init__(self, url: str, partitions: int) -> None:
        self._url = url
        self._partitions = partitions
        self._topic = topic_name(url)
        self._bags: list[set[MailboxKey]] = []
        self._wake = asyncio.Event()
        self._outage = OutageTracker("kafka")
        self._lost = 0

    @property
    def is_connected(self) -> bool:
        """Whether bags leave at present."""
        return bool(self._bags)

    def add(self, mailbox: MailboxKey) -> None:
        if not self._bags:
            self._lost += 1
            return
        bag = self._bags[partition_of(mailbox, len(self._bags))]
        if len(bag) < KEYS_PER_RECORD:
            bag.add(mailbox)
        self._wake.set()

    async def run(self) -> None:
        """Connect, carry, and after any trouble begin again with a new producer; until cancelled."""
        while True:
            _stop_if_cancelled()
            try:
                await self._run_producer()
            except Exception as problem:  # noqa: BLE001 - whatever the driver throws, hints must not end a node
                await asyncio.sleep(self._outage.record_failure(problem))

    async def _run_producer(self) -> Never:
        """Carry with one producer until it is of no more use."""
        await ensure_topic(self._url, self._partitions)
        try:
            async with _running_producer(self._url) as producer, _PendingRecords(producer, self._topic) as delivery:
                self._bags = [set() for _ in range(await delivery.partitions())]
                self._outage.record_success()
                if self._lost:
                    record("route", self._lost, 0.0, failures=self._lost)
                    self._lost = 0
                await self._send_loop(delivery)
        finally:
            self._bags = []
            self._wake.clear()

    async def _send_loop(self, delivery: "_PendingRecords") -> Never:
        while True:
            _stop_if_cancelled()
            with suppress(TimeoutError):
                # Without bags the outcomes still have to be looked after.
                async with asyncio.timeout(1):
                    await self._wake.wait()
            self._wake.clear()
            bags, self._bags = self._bags, [set() for _ in self._bags]
            await delivery.send(bags)
            await asyncio.sleep(TICK_SECONDS)


def _stop_if_cancelled() -> None:
    """Aiokafka waits by asyncio.wait_for, which on Python 3.11 can swallow a cancellation (python/cpython#86296); the task still knows of it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class _PendingRecords:
    """What one producer has taken and not yet delivered. Raises, once a record failed or is overdue: the producer is of no more use then."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._pending: deque[tuple[float, int, asyncio.Future[object]]] = deque()

    async def __aenter__(self) -> "_PendingRecords":
        return self

    async def __aexit__(self, *_: object) -> None:
        lost = sum(count for _, count, outcome in self._pending if not _is_delivered(outcome))
        if lost:
            record("route", lost, 0.0, failures=lost)

    async def partitions(self) -> int:
        """How many partitions the topic has."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return len(await self._producer.partitions_for(self._topic))

    async def send(self, bags: list[set[MailboxKey]]) -> None:
        """Hand all bags to the producer, and look at what became of the earlier ones."""
        now = time.monotonic()
        async with asyncio.timeout(DEADLINE_SECONDS):
            for partition, bag in enumerate(bags):
                for packed in pack_records(bag):
                    outcome = await self._producer.send(self._topic, packed, partition=partition)
                    outcome.add_done_callback(_is_delivered)  # An outcome that nobody looks at again would complain.
                    self._pending.append((now, len(packed) // 8, outcome))
        while self._pending and self._pending[0][2].done():
            # An error that aiokafka does not retry is raised here.
            self._pending[0][2].result()
            self._pending.popleft()
        if self._pending and now - self._pending[0][0] > DEADLINE_SECONDS:
            raise TimeoutError("a mailbag is overdue")


def _is_delivered(outcome: asyncio.Future[object]) -> bool:
    return outcome.done() and not outcome.cancelled() and outcome.exception() is None


def client_options(url: str) -> dict[str, Any]:
    """How every client of aiokafka finds these brokers, and speaks with them. Raises OSError when the CA's file cannot be read."""
    way = parse_access(url)
    found: dict[str, Any] = {
        "bootstrap_servers": parse_brokers(url),
        "security_protocol": way.security_protocol,
        "ssl_context": way.tls,
    }
    if way.user:
        found |= {
            "sasl_mechanism": way.mechanism,
            "sasl_plain_username": way.user,
            "sasl_plain_password": way.password,
        }
    return found


def new_producer(url: str) -> AIOKafkaProducer:
    """A producer as careful as it can be: all replicas, no duplicates (both are off by default), no record older than the deadline."""
    return AIOKafkaProducer(
        **client_options(url),
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        request_timeout_ms=int(DEADLINE_SECONDS * 1000),
        retry_backoff_ms=100,
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
    """Give what is held a last chance, then stop, within 5 s and whatever the broker does."""
    try:
        async with asyncio.timeout(1.5):
            await producer.flush()
            await producer.stop()
    except Exception:  # noqa: BLE001 - whatever the driver throws, this is the end of it
        # aiokafka 0.14 has no public way to give up what it holds, and its stop() waits for that without end (aiokafka#1101).
        producer._closed = True  # noqa: SLF001
        for close in (producer._sender.close, producer.client.close):  # noqa: SLF001
            with suppress(Exception):  # nosemgrep: nothing-swallowed - the same end, and nothing hangs on it
                async with asyncio.timeout(1.5):
                    await close()
