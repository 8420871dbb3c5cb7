"""The progress of agents: records that wait, and partitions of which none is read."""

from collections.abc import Mapping

import pytest
from faust.types import TP

from agents.progress import AgentsStalled, Progress
from tests.support.fake_clock import FakeClock
from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.partitions import STALLED_SECONDS


class Broker:
    """The ends of partitions, and where a consumer begins."""

    def __init__(self, ends: dict[int, int]) -> None:
        self.ends = ends
        self.first = dict(ends)

    def assignment(self) -> set[TP]:
        return {TP("topic", number) for number in self.ends}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: self.ends[tp.partition] for tp in partitions}

    async def position(self, tp: TP) -> int | None:
        return self.first[tp.partition]


class Time:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def meter(time: Time) -> PartitionMeter:
    return PartitionMeter(FakeClock(), monotonic=time)


async def test_nothing_waits_when_the_last_record_was_read(meter: PartitionMeter, time: Time) -> None:
    progress, broker = Progress(meter, time), Broker({0: 10})
    await progress.measure(broker)

    broker.ends[0] = 12
    meter.count_record(0, 11)
    await progress.measure(broker)

    (report,) = progress.reports([0])
    assert (report.records_behind, report.seconds_behind) == (0, 0.0)


async def test_records_that_wait_are_counted_with_their_time(meter: PartitionMeter, time: Time) -> None:
    progress, broker = Progress(meter, time), Broker({0: 10, 1: 0})
    await progress.measure(broker)
    broker.ends[0] = 13
    await progress.measure(broker)
    time.seconds += 2
    meter.count_record(0, 10)
    await progress.measure(broker)

    first, second = progress.reports([0, 1])

    assert (first.records_behind, first.seconds_behind, second.records_behind) == (2, 2.0, 0)


async def test_agents_that_read_nothing_while_records_wait_are_stalled(meter: PartitionMeter, time: Time) -> None:
    progress, broker = Progress(meter, time), Broker({0: 10, 3: 10})
    await progress.measure(broker)
    broker.ends[3] = 11
    await progress.measure(broker)

    time.seconds += STALLED_SECONDS
    with pytest.raises(AgentsStalled) as stalled:
        await progress.measure(broker)

    assert stalled.value.partitions == [3]


async def test_agents_that_are_slow_are_not_stalled(meter: PartitionMeter, time: Time) -> None:
    progress, broker = Progress(meter, time), Broker({0: 10})
    await progress.measure(broker)
    broker.ends[0] = 1_000
    await progress.measure(broker)

    for offset in range(10, 20):
        time.seconds += STALLED_SECONDS - 1
        meter.count_record(0, offset)
        await progress.measure(broker)

    assert progress.reports([0])[0].records_behind == 980


async def test_a_partition_without_a_measurement_is_reported_as_read(meter: PartitionMeter, time: Time) -> None:
    assert Progress(meter, time).reports([5])[0].records_behind == 0
