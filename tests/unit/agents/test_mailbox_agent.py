"""Work records and hints as bytes, and the agent that consumes them."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.mailbox import deposit_work_records
from vyry.clock import SystemClock
from vyry.kafka.url import parse_brokers, topic_name
from vyry.kernel.ids import MailboxKey
from vyry.mail import work_record
from vyry.mail.partition_meter import PartitionMeter
from vyry.redis.hints import Hint, HintKind
from vyry.telemetry import REJECTED_WORK_RECORDS


KEYS = st.lists(st.integers(1, (1 << 63) - 1).map(MailboxKey), min_size=1, max_size=50)


class RecordingDepositor:
    def __init__(self) -> None:
        self.mailboxes: list[MailboxKey] = []

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.mailboxes += mailboxes


@dataclass(frozen=True)
class Position:
    offset: int
    partition: int = 3
    timestamp: float = 0.0
    headers: object = None


@dataclass(frozen=True)
class RecordOfBytes:
    value: bytes
    message: Position


async def stream(*records: bytes) -> AsyncIterator[RecordOfBytes]:
    for offset, record in enumerate(records):
        yield RecordOfBytes(record, Position(offset))


@given(KEYS)
def test_a_work_record_unpacks_to_what_was_packed(mailboxes: list[MailboxKey]) -> None:
    assert work_record.unpack(work_record.pack(mailboxes)) == tuple(mailboxes)


@given(KEYS, st.sampled_from(HintKind), st.binary(max_size=100))
def test_a_hint_unpacks_to_what_was_packed(mailboxes: list[MailboxKey], what: HintKind, argument: bytes) -> None:
    assert Hint.unpack(Hint(what, argument, mailboxes).pack()) == Hint(what, argument, tuple(mailboxes))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_work_record_or_refused(packed: bytes) -> None:
    if len(packed) % 8 == 0 and packed:
        assert work_record.pack(work_record.unpack(packed)) == packed
    else:
        with pytest.raises(ValueError, match="not a work record"):
            work_record.unpack(packed)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_hint_or_refused(packed: bytes) -> None:
    try:
        hint = Hint.unpack(packed)
    except ValueError:
        return
    assert hint.mailboxes or hint.kind in {HintKind.CHANGED, HintKind.PRESENCE}


def test_twenty_thousand_mailboxes_fill_three_bags() -> None:
    mailboxes = [MailboxKey(number) for number in range(20_000)]

    records = list(work_record.pack_records(mailboxes))

    assert [len(record) // 8 for record in records] == [8_000, 8_000, 4_000]


def test_brokers_and_prefix_are_read_from_the_url() -> None:
    url = "kafka://one:9092,two/house"

    assert parse_brokers(url) == ["one:9092", "two:9092"]
    assert (topic_name(url), topic_name("kafka://one:9092")) == ("house.vyry-mailbags", "vyry-mailbags")


async def test_poison_is_counted_and_the_next_bag_is_sorted() -> None:
    fed, meter, before = RecordingDepositor(), PartitionMeter(SystemClock()), REJECTED_WORK_RECORDS._value.get()

    await deposit_work_records(stream(b"poison", b"", work_record.pack([MailboxKey(5)])), fed, meter)

    assert fed.mailboxes == [MailboxKey(5)]
    assert REJECTED_WORK_RECORDS._value.get() - before == 2
    assert meter.last_offset(3) == 2
