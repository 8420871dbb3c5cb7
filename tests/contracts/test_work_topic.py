"""What every work topic promises: what is added arrives at the depositor of the partition's agent, soon, without content and without waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import faust
import pytest
from aiokafka import AIOKafkaProducer

from agents.app import in_process_app
from agents.progress import Progress
from agents.running import build_immediately, keep_running
from tests.support.work_topics import RecordingDepositor, WorkTopicSetup, no_map, open_kafka_topic, run_tasks
from vyry.clock import SystemClock
from vyry.in_process.routing import InProcessWorkTopic
from vyry.kafka.url import parse_brokers, topic_name
from vyry.kafka.work_topic import DEADLINE_SECONDS, KafkaWorkTopic, new_producer
from vyry.kernel.ids import MailboxKey
from vyry.mail.partition_meter import PartitionMeter
from vyry.outage import OutageTracker
from vyry.telemetry import REJECTED_WORK_RECORDS


async def run_in_process(build: Callable[[], faust.App]) -> None:
    outage = OutageTracker("agents", first_seconds=0.01)
    await keep_running(build_immediately(build), outage, Progress(PartitionMeter(SystemClock())))


@pytest.fixture
async def in_process() -> AsyncIterator[WorkTopicSetup]:
    topic, fed = InProcessWorkTopic(), RecordingDepositor()
    async with run_tasks(run_in_process(lambda: in_process_app(topic, fed, PartitionMeter(SystemClock())))):
        yield WorkTopicSetup(topic, fed)


@pytest.fixture
async def on_kafka(kafka_url: str, topic_prefix: str) -> AsyncIterator[WorkTopicSetup]:
    async with open_kafka_topic(f"{kafka_url}/{topic_prefix}") as route:
        yield route


@pytest.fixture(params=["in_process", "on_kafka"])
def route(request: pytest.FixtureRequest) -> WorkTopicSetup:
    found: WorkTopicSetup = request.getfixturevalue(request.param)
    return found


async def test_what_is_added_reaches_the_depositor(route: WorkTopicSetup) -> None:
    wanted = {MailboxKey(number) for number in (1, 2, 3, 1 << 62)}

    for mailbox in wanted:
        route.topic.add(mailbox)

    await route.depositor.wait_for(wanted)


async def test_what_is_added_twice_in_a_tick_travels_once(route: WorkTopicSetup) -> None:
    for _ in range(100):
        route.topic.add(MailboxKey(7))
    route.topic.add(MailboxKey(8))

    await route.depositor.wait_for({MailboxKey(7), MailboxKey(8)})

    assert route.depositor.mailboxes.count(MailboxKey(7)) == 1


async def test_twenty_thousand_mailboxes_arrive_in_records_that_fit(route: WorkTopicSetup) -> None:
    wanted = {MailboxKey(number) for number in range(1, 20_001)}

    for mailbox in wanted:
        route.topic.add(mailbox)

    await route.depositor.wait_for(wanted)


async def test_bags_go_on_after_a_pause(route: WorkTopicSetup) -> None:
    route.topic.add(MailboxKey(1))
    await route.depositor.wait_for({MailboxKey(1)})

    route.topic.add(MailboxKey(2))

    await route.depositor.wait_for({MailboxKey(2)})


async def test_what_is_no_work_record_is_counted_and_passed_over(
    on_kafka: WorkTopicSetup, kafka_url: str, topic_prefix: str
) -> None:
    before = REJECTED_WORK_RECORDS._value.get()
    producer = AIOKafkaProducer(bootstrap_servers=parse_brokers(kafka_url))
    async with producer:
        for poison in (b"seven b", b"", b"x" * 80_008):
            await producer.send_and_wait(topic_name(f"{kafka_url}/{topic_prefix}"), poison, partition=0)

    on_kafka.topic.add(MailboxKey(3))

    await on_kafka.depositor.wait_for({MailboxKey(3)})
    assert REJECTED_WORK_RECORDS._value.get() - before == 3


async def test_bags_without_a_broker_are_dropped_and_hold_nobody_up() -> None:
    topic = KafkaWorkTopic("kafka://127.0.0.1:1", no_map)
    async with run_tasks(topic.run()):
        await asyncio.sleep(0)

        for number in range(100_000):
            topic.add(MailboxKey(number))

        assert not topic.is_connected


async def test_an_app_that_crashed_is_replaced() -> None:
    topic, fed, made = InProcessWorkTopic(), RecordingDepositor(), []

    def make() -> faust.App:
        made.append(in_process_app(topic, fed, PartitionMeter(SystemClock())))
        return made[-1]

    async with run_tasks(run_in_process(make)):
        topic.add(MailboxKey(1))
        await fed.wait_for({MailboxKey(1)})

        await made[0].crash(RuntimeError("of the driver"))
        topic.add(MailboxKey(2))

        await fed.wait_for({MailboxKey(2)})
        assert len(made) == 2


async def test_the_records_of_a_producer_expire() -> None:
    """An idempotent producer of aiokafka 0.14 keeps them for ever while a broker is away."""
    producer = new_producer("kafka://127.0.0.1:1")

    assert (producer._sender._acks, producer._txn_manager) == (1, None)
    assert producer._message_accumulator._batch_ttl == DEADLINE_SECONDS
    await producer.stop()


async def test_told_to_stop_while_the_producer_starts_it_stops(
    kafka_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting, start = asyncio.Event(), AIOKafkaProducer.start

    async def swallow_a_cancellation(producer: AIOKafkaProducer) -> None:
        # As asyncio.wait_for inside aiokafka does now and then on Python 3.11 (python/cpython#86296).
        started = asyncio.create_task(start(producer))
        starting.set()
        with suppress(asyncio.CancelledError):
            await asyncio.shield(started)
        await started

    monkeypatch.setattr(AIOKafkaProducer, "start", swallow_a_cancellation)
    carrying = asyncio.create_task(KafkaWorkTopic(f"{kafka_url}/{topic_prefix}", no_map).run())
    await starting.wait()

    carrying.cancel()
    await asyncio.wait({carrying}, timeout=10)

    assert carrying.cancelled()
