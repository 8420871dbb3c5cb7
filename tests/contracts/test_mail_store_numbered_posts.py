"""What every mail store promises about a post that deposits for its own readers: the same numbers, heads and losses as a deposit, in one commit."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from tests.contracts.test_mail_store_race import deposit_until
from tests.support.mail_store_harness import MailStoreHarness, contents_of, expected_heads, make_message
from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import CAP_DIGEST, Envelope, LossReason
from vyry.mail.store import (
    Acknowledgement,
    Deposited,
    MailboxCaps,
    MailStore,
    Message,
    Outdated,
    PostOutcome,
    Preconditions,
)


POSTS = 40


@pytest.fixture
def caps() -> MailboxCaps:
    """Room for many, and more than a nearly empty lane."""
    return replace(MailboxCaps(), mail_entries=300)


async def post_near(store: MailStore, readers: list[MailboxKey], *messages: Message) -> list[PostOutcome]:
    stored = await store.post(messages, Preconditions(), readers)
    assert not isinstance(stored, Outdated)
    return stored


def rows_of(stored: list[PostOutcome]) -> list[Deposited]:
    return [row for outcome in stored for row in outcome.deposited.values()]


async def test_a_post_deposits_for_its_readers_and_for_no_other_mailbox(mail_harness: MailStoreHarness) -> None:
    near, far = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    messages = [make_message(near, far, text=b"%d" % n) for n in range(3)]

    stored = await post_near(mail_harness.store, [near], *messages)

    chain = expected_heads(mail_harness.mailbox_ids[near], [message.contents[0].digest for message in messages])
    expected = [
        Deposited(near, seq, head, outcome.numbers[0] or 0, None)
        for seq, (head, outcome) in enumerate(zip(chain, stored, strict=True), 1)
    ]
    assert rows_of(stored) == expected
    assert [(each.seq, each.head) for each in await mail_harness.numbered_entries(near)] == list(enumerate(chain, 1))
    assert contents_of(await mail_harness.numbered_entries(near)) == [b"0", b"1", b"2"]
    assert await mail_harness.numbered_entries(far) == []
    assert [row.seq for row in await mail_harness.store.deposit([near, far])] == [1, 2, 3]


async def test_an_envelope_that_was_accepted_before_is_not_overtaken(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    box = await mail_harness.add_mailbox()
    await second_node_store.post([make_message(box, text=b"first")], Preconditions())

    stored = await post_near(mail_harness.store, [box], make_message(box, text=b"second"))

    assert rows_of(stored) == []
    await mail_harness.store.deposit([box])
    (third,) = rows_of(await post_near(mail_harness.store, [box], make_message(box, text=b"third")))
    assert third.seq == 3
    assert contents_of(await mail_harness.numbered_entries(box)) == [b"first", b"second", b"third"]


async def test_a_repeat_deposits_nothing(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    message = make_message(box)

    once, twice = await post_near(mail_harness.store, [box], message, message)
    (again,) = await post_near(mail_harness.store, [box], message)

    assert [len(each.deposited) for each in (once, twice, again)] == [1, 0, 0]
    assert len(await mail_harness.numbered_entries(box)) == 1
    assert again.numbers == once.numbers


async def test_an_ended_mailbox_gets_no_entry(mail_harness: MailStoreHarness) -> None:
    ended, live = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.registry.end_mailbox(ended)

    (stored,) = await post_near(mail_harness.store, [ended, live], make_message(ended, live))

    assert [row.mailbox for row in stored.deposited.values()] == [live]
    assert await mail_harness.upkeep_is_idle()


async def test_what_has_expired_or_is_over_the_cap_is_a_numbered_loss(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    late = make_message(box, text=b"late", lifetime=timedelta(seconds=5))
    mail_harness.clock.advance(seconds=5)
    many = [make_message(box, text=b"x" * 9) for _ in range(301)]

    rows = rows_of(await post_near(mail_harness.store, [box], late, *many))

    assert [row.seq for row in rows] == list(range(1, 303))
    assert (rows[0].loss_reason, rows[300].loss_reason, rows[301].loss_reason) == (
        LossReason.EXPIRED,
        None,
        LossReason.CAP,
    )
    digests = [late.contents[0].digest, *(each.contents[0].digest for each in many[:300]), CAP_DIGEST]
    assert [row.head for row in rows] == expected_heads(mail_harness.mailbox_ids[box], digests)
    assert await mail_harness.registry.count_contents() == 300
    *_, last = rows
    await mail_harness.acknowledge(box, last.seq, last.head)
    assert await mail_harness.registry.count_contents() == 0


@dataclass
class Reader:
    """The device of one mailbox: reads, and acknowledges at the other node."""

    harness: MailStoreHarness
    other: MailStore
    box: MailboxKey
    heads: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)

    async def read(self) -> None:
        for entry in await self.harness.numbered_entries(self.box, len(self.heads)):
            self.heads.append(entry.head)
            self.digests.append(Envelope.unpack(entry.packed or b"").digest())
            await self.other.acknowledge([Acknowledgement(self.box, entry.seq, entry.head, entry.seq)])

    async def read_until(self, done: asyncio.Event) -> None:
        while not done.is_set():
            await self.read()
            await asyncio.sleep(0)


async def post_all(store: MailStore, boxes: list[MailboxKey], readers: list[MailboxKey]) -> list[Deposited]:
    """Post as one web node does whose sockets are those of `readers`; answers what the posts deposited."""
    rows = []
    for n in range(POSTS):
        batch = [make_message(*boxes[n % 3 :], text=b"%d" % n) for _ in range(2)]
        rows += rows_of(await post_near(store, readers, *batch))
        await asyncio.sleep(0)
    return rows


async def test_posters_depositors_and_readers_on_two_nodes_leave_every_mailbox_whole(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    boxes, done = [await mail_harness.add_mailbox() for _ in range(3)], asyncio.Event()
    readers = [Reader(mail_harness, second_node_store, box) for box in boxes]

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        depositor = group.create_task(deposit_until(second_node_store, boxes[::-1], done))
        for reader in readers:
            group.create_task(reader.read_until(done))
        near = await asyncio.gather(
            post_all(mail_harness.store, boxes, boxes),
            post_all(mail_harness.store, boxes, boxes[:2]),
            post_all(second_node_store, boxes, boxes),
        )
        done.set()

    rows = [row for some in near for row in some] + depositor.result()
    assert len({row.number for row in rows}) == len(rows) == 3 * sum(2 * (3 - n % 3) for n in range(POSTS))
    for reader in readers:
        await reader.read()
        assert sorted(row.seq for row in rows if row.mailbox == reader.box) == list(range(1, len(reader.heads) + 1))
        assert reader.heads == expected_heads(mail_harness.mailbox_ids[reader.box], reader.digests)
