"""Mailbags and hints as bytes, and the agent that takes them."""

from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.mailbox import sort_mailbags
from vyry.adapters.hints import Hint, What
from vyry.ids import MailboxKey
from vyry.mail import mailbag
from vyry.telemetry import PARKED


KEYS = st.lists(st.integers(1, (1 << 63) - 1).map(MailboxKey), min_size=1, max_size=50)


class Fed:
    def __init__(self) -> None:
        self.mailboxes: list[MailboxKey] = []

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.mailboxes += mailboxes


async def stream(*records: bytes) -> AsyncIterator[bytes]:
    for record in records:
        yield record


@given(KEYS)
def test_a_mailbag_unpacks_to_what_was_packed(mailboxes: list[MailboxKey]) -> None:
    assert mailbag.unpack(mailbag.pack(mailboxes)) == tuple(mailboxes)


@given(KEYS, st.sampled_from(What), st.binary(max_size=100))
def test_a_hint_unpacks_to_what_was_packed(mailboxes: list[MailboxKey], what: What, argument: bytes) -> None:
    assert Hint.unpack(Hint(what, argument, mailboxes).pack()) == Hint(what, argument, tuple(mailboxes))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_mailbag_or_refused(packed: bytes) -> None:
    if len(packed) % 8 == 0 and packed:
        assert mailbag.pack(mailbag.unpack(packed)) == packed
    else:
        with pytest.raises(ValueError, match="no mailbag"):
            mailbag.unpack(packed)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_hint_or_refused(packed: bytes) -> None:
    try:
        hint = Hint.unpack(packed)
    except ValueError:
        return
    assert hint.mailboxes or hint.what in {What.CHANGED, What.PRESENCE}


def test_twenty_thousand_mailboxes_fill_three_bags() -> None:
    mailboxes = [MailboxKey(number) for number in range(20_000)]

    bags = list(mailbag.filled(mailboxes))

    assert [len(bag) // 8 for bag in bags] == [8_000, 8_000, 4_000]


def test_brokers_and_prefix_are_read_from_the_url() -> None:
    url = "kafka://one:9092,two/house"

    assert mailbag.brokers(url) == ["one:9092", "two:9092"]
    assert (mailbag.topic_of(url), mailbag.topic_of("kafka://one:9092")) == ("house.vyry-mailbags", "vyry-mailbags")


async def test_poison_is_counted_and_the_next_bag_is_sorted() -> None:
    fed, before = Fed(), PARKED._value.get()

    await sort_mailbags(stream(b"poison", b"", mailbag.pack([MailboxKey(5)])), fed)

    assert fed.mailboxes == [MailboxKey(5)]
    assert PARKED._value.get() - before == 2
