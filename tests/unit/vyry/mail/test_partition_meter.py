"""What a worker counts of its partitions: rates over a minute, and the worst age at a deposit."""

import pytest

from tests.support.fake_clock import NOON, FakeClock
from vyry.kernel.ids import MailboxKey
from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.store import Deposited


ANN, BOB = MailboxKey(4), MailboxKey(5)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def meter(clock: FakeClock) -> PartitionMeter:
    meter = PartitionMeter(clock, monotonic=lambda: clock.now().timestamp())
    meter.partitions = 4
    return meter


def deposited(*mailboxes: MailboxKey) -> list[Deposited]:
    return [Deposited(mailbox, 1, bytes(32), 1, None) for mailbox in mailboxes]


def test_rates_are_means_of_the_last_minute(meter: PartitionMeter, clock: FakeClock) -> None:
    meter.count_received(0, [ANN] * 6, 0.0)
    meter.count_deposited([ANN], deposited(ANN, ANN, ANN))
    for _ in range(3):
        clock.advance(seconds=1)
        meter.tick()

    rates = meter.read(0)

    assert (rates.received_per_second, rates.deposited_per_second) == (2.0, 1.0)


def test_what_is_older_than_a_minute_counts_no_longer(meter: PartitionMeter, clock: FakeClock) -> None:
    meter.count_received(0, [ANN], 0.0)
    for _ in range(17):
        clock.advance(seconds=4)
        meter.tick()

    assert meter.read(0).received_per_second == 0.0


def test_the_age_counts_from_the_record_to_the_deposit(meter: PartitionMeter, clock: FakeClock) -> None:
    meter.count_received(1, [BOB], NOON.timestamp())
    clock.advance(seconds=0.75)
    meter.count_deposited([BOB], deposited(BOB))
    meter.tick()

    assert meter.read(1).worst_seconds == 0.75


def test_a_mailbox_that_another_process_deposited_is_forgotten(meter: PartitionMeter, clock: FakeClock) -> None:
    meter.count_received(1, [BOB], NOON.timestamp())
    meter.count_deposited([BOB], [])
    clock.advance(hours=1)
    meter.count_deposited([BOB], deposited(BOB))
    meter.tick()

    assert meter.read(1).worst_seconds == 0.0


def test_a_partition_that_moved_away_is_forgotten(meter: PartitionMeter) -> None:
    for number in (0, 1):
        meter.count_record(number, 7)

    meter.keep([1])

    assert [meter.last_offset(number) for number in (0, 1)] == [-1, 7]
    assert meter.read(0).idle_seconds is None


def test_the_time_since_the_last_record_is_known(meter: PartitionMeter, clock: FakeClock) -> None:
    meter.count_record(2, 0)
    clock.advance(seconds=9)

    assert meter.read(2).idle_seconds == 9.0
