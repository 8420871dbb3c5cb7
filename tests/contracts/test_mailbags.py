"""What every way of mailbags promises: what is added arrives at the depositor of the partition's agent, soon, without content and without waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import faust
import pytest
from aiokafka import AIOKafkaProducer

from agents.app import in_process_app
from agents.room import at_once, tend
from tests.mailbag_route import Fed, Route, by_kafka, running
from vyry.adapters.in_process import InProcessMailbags
from vyry.adapters.kafka import KafkaMailbags, new_producer
from vyry.ids import MailboxKey
from vyry.mail.mailbag import brokers, topic_of
from vyry.outage import Outage
from vyry.telemetry import PARKED


@pytest.fixture
async def in_process() -> AsyncIterator[Route]:
    bags, fed = InProcessMailbags(), Fed()
    async with running(tend(at_once(lambda: in_process_app(bags, fed)), Outage("agents"))):
        yield Route(bags, fed)


@pytest.fixture
async def on_kafka(kafka_url: str, topic_prefix: str) -> AsyncIterator[Route]:
    async with by_kafka(f"{kafka_url}/{topic_prefix}") as route:
        yield route


@pytest.fixture(params=["in_process", "on_kafka"])
def route(request: pytest.FixtureRequest) -> Route:
    found: Route = request.getfixturevalue(request.param)
    return found


async def test_what_is_added_reaches_the_depositor(route: Route) -> None:
    wanted = {MailboxKey(number) for number in (1, 2, 3, 1 << 62)}

    for mailbox in wanted:
        route.mailbags.add(mailbox)

    await route.fed.until(wanted)


async def test_what_is_added_twice_in_a_tick_travels_once(route: Route) -> None:
    for _ in range(100):
        route.mailbags.add(MailboxKey(7))
    route.mailbags.add(MailboxKey(8))

    await route.fed.until({MailboxKey(7), MailboxKey(8)})

    assert route.fed.mailboxes.count(MailboxKey(7)) == 1


async def test_twenty_thousand_mailboxes_arrive_in_bags_of_a_size_that_is_taken(route: Route) -> None:
    wanted = {MailboxKey(number) for number in range(1, 20_001)}

    for mailbox in wanted:
        route.mailbags.add(mailbox)

    await route.fed.until(wanted)


async def test_bags_go_on_after_a_pause(route: Route) -> None:
    route.mailbags.add(MailboxKey(1))
    await route.fed.until({MailboxKey(1)})

    route.mailbags.add(MailboxKey(2))

    await route.fed.until({MailboxKey(2)})


async def test_what_is_no_mailbag_is_counted_and_passed_over(
    on_kafka: Route, kafka_url: str, topic_prefix: str
) -> None:
    before = PARKED._value.get()
    producer = AIOKafkaProducer(bootstrap_servers=brokers(kafka_url))
    async with producer:
        for poison in (b"seven b", b"", b"x" * 80_008):
            await producer.send_and_wait(topic_of(f"{kafka_url}/{topic_prefix}"), poison, partition=0)

    on_kafka.mailbags.add(MailboxKey(3))

    await on_kafka.fed.until({MailboxKey(3)})
    assert PARKED._value.get() - before == 3


async def test_bags_without_a_broker_are_dropped_and_hold_nobody_up() -> None:
    bags = KafkaMailbags("kafka://127.0.0.1:1", partitions=3)
    async with running(bags.run()):
        await asyncio.sleep(0)

        for number in range(100_000):
            bags.add(MailboxKey(number))

        assert not bags.is_connected


async def test_an_app_that_crashed_is_replaced() -> None:
    bags, fed, made = InProcessMailbags(), Fed(), []

    def make() -> faust.App:
        made.append(in_process_app(bags, fed))
        return made[-1]

    async with running(tend(at_once(make), Outage("agents", first_seconds=0.01))):
        bags.add(MailboxKey(1))
        await fed.until({MailboxKey(1)})

        await made[0].crash(RuntimeError("of the driver"))
        bags.add(MailboxKey(2))

        await fed.until({MailboxKey(2)})
        assert len(made) == 2


async def test_a_producer_waits_for_all_replicas_and_numbers_its_batches() -> None:
    producer = new_producer("kafka://127.0.0.1:1")

    assert producer._sender._acks == -1
    assert producer._txn_manager is not None
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
    carrying = asyncio.create_task(KafkaMailbags(f"{kafka_url}/{topic_prefix}", partitions=1).run())
    await starting.wait()

    carrying.cancel()
    await asyncio.wait({carrying}, timeout=10)

    assert carrying.cancelled()
