"""The work topic in Kafka: sends work records to the mailbox agents. A record may be lost; no caller waits for it, and the sweeper finds its mailboxes.

Known problems of aiokafka 0.14: idempotent batches never expire while the broker is down, so every record has its own deadline; a sequence number is used up
before the send, so after an error that is not retried only a new producer can continue (aiokafka#1017); stop() hangs while the broker is down (#1101).
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
#: The first record is sent at once, further ones at most once a tick (a shorter tick is slower: docs/performance.md).
TICK_SECONDS: Final = 0.010
_OUTAGE_ERRORS: Final = (KafkaError, OSError, TimeoutError, AssertionError)


async def ensure_topic(url: str, partitions: int, replication: int = 1) -> bool:
    """Create the work topic if it does not exist; returns whether it was created. Several processes may call it at once.

    Raises KafkaError, OSError or TimeoutError when the broker is down for `DEADLINE_SECONDS`.
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
    """Collects mailboxes and sends them as work records on their partitions.

    `run` creates the topic if it does not exist (with `partitions`) and reconnects after failures. Without a connection mailboxes are dropped: the sweeper finds them.
    """

    def __init__(self, url: str, partitions: int) -> None:
        self._url = url
        self._partitions = partitions
        self._topic = topic_name(url)
        self._mailboxes: list[set[MailboxKey]] = []
        self._wake = asyncio.Event()
        self._outage = OutageTracker("kafka")
        self._lost = 0

    @property
    def is_connected(self) -> bool:
        """Whether records can be sent."""
        return bool(self._mailboxes)

    @property
    def depth(self) -> int:
        """The mailboxes that wait for the next work records."""
        return sum(map(len, self._mailboxes))

    def add(self, mailbox: MailboxKey) -> None:
        if not self._mailboxes:
            self._lost += 1
            return
        some = self._mailboxes[partition_of(mailbox, len(self._mailboxes))]
        if len(some) < KEYS_PER_RECORD:
            some.add(mailbox)
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled, after any failure with a new producer."""
        while True:
            _stop_if_cancelled()
            try:
                await self._run_producer()
            except Exception as problem:  # noqa: BLE001 - no error of the driver may end the node
                await asyncio.sleep(self._outage.record_failure(problem))

    async def _run_producer(self) -> Never:
        """Send with one producer until it fails."""
        await ensure_topic(self._url, self._partitions)
        try:
            async with _running_producer(self._url) as producer, _PendingRecords(producer, self._topic) as delivery:
                self._mailboxes = [set() for _ in range(await delivery.partitions())]
                self._outage.record_success()
                if self._lost:
                    record("route", self._lost, 0.0, failures=self._lost)
                    self._lost = 0
                await self._send_loop(delivery)
        finally:
            self._mailboxes = []
            self._wake.clear()

    async def _send_loop(self, delivery: "_PendingRecords") -> Never:
        while True:
            _stop_if_cancelled()
            with suppress(TimeoutError):
                # Also without new records the pending ones are checked.
                async with asyncio.timeout(1):
                    await self._wake.wait()
            self._wake.clear()
            mailboxes, self._mailboxes = self._mailboxes, [set() for _ in self._mailboxes]
            await delivery.send(mailboxes)
            await asyncio.sleep(TICK_SECONDS)


def _stop_if_cancelled() -> None:
    """Aiokafka waits by asyncio.wait_for, which on Python 3.11 can swallow a cancellation (python/cpython#86296); the task still knows."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class _PendingRecords:
    """The records of one producer that are not delivered yet. `send` raises once one failed or is overdue: then the producer must be replaced."""

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
        """The number of partitions of the topic."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return len(await self._producer.partitions_for(self._topic))

    async def send(self, mailboxes: list[set[MailboxKey]]) -> None:
        """Give all records to the producer, and check the earlier ones."""
        now = time.monotonic()
        async with asyncio.timeout(DEADLINE_SECONDS):
            for partition, some in enumerate(mailboxes):
                for packed in pack_records(some):
                    outcome = await self._producer.send(self._topic, packed, partition=partition)
                    outcome.add_done_callback(
                        _is_delivered
                    )  # Retrieves the exception, which asyncio would log otherwise.
                    self._pending.append((now, len(packed) // 8, outcome))
        while self._pending and self._pending[0][2].done():
            # Raises an error that aiokafka does not retry.
            self._pending[0][2].result()
            self._pending.popleft()
        if self._pending and now - self._pending[0][0] > DEADLINE_SECONDS:
            raise TimeoutError("a work record was not sent in time")


def _is_delivered(outcome: asyncio.Future[object]) -> bool:
    return outcome.done() and not outcome.cancelled() and outcome.exception() is None


def client_options(url: str) -> dict[str, Any]:
    """The connection options of every aiokafka client. Raises OSError if the CA file cannot be read."""
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
    """A producer with acks of all replicas and idempotence (both off by default), and requests limited to the deadline."""
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
