"""What every mail store promises when many work at once, on two nodes: contiguous numbers, a right chain, no deadlock, nothing twice."""

import asyncio
from collections.abc import Sequence
from itertools import islice

from tests.support.mail_store_harness import MailStoreHarness, expected_heads, make_message
from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import Envelope
from vyry.mail.store import Acknowledgement, Cursor, Deposited, MailStore, Message, Outdated, Preconditions


POSTS = 12


async def post_one_by_one(store: MailStore, boxes: Sequence[MailboxKey]) -> list[Message]:
    """Batches of three messages, each to some of the mailboxes, as one web node posts them."""
    posted = []
    for n in range(POSTS):
        batch = [make_message(*islice(boxes, start, len(boxes), 1 + n % 2), text=b"x" * (n + 1)) for start in range(3)]
        assert not isinstance(await store.post(batch, Preconditions()), Outdated)
        posted += batch
        await asyncio.sleep(0)
    return posted


async def deposit_until(store: MailStore, boxes: Sequence[MailboxKey], done: asyncio.Event) -> list[Deposited]:
    """Deposit these mailboxes again and again, in this order."""
    deposited = []
    while not done.is_set():
        deposited += await store.deposit(boxes)
        # The memory store never suspends; the others must have their turn.
        await asyncio.sleep(0)
    return deposited + await store.deposit(boxes)


async def test_posters_and_depositors_on_two_nodes_leave_every_mailbox_whole(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(6)]
    stores, done = [mail_harness.store, second_node_store] * 2, asyncio.Event()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        orders = boxes, boxes[::-1], boxes[2:], boxes[4::-1]
        work = zip(stores, orders, strict=True)
        depositors = [group.create_task(deposit_until(store, order, done)) for store, order in work]
        posted = await asyncio.gather(*(post_one_by_one(store, boxes) for store in stores))
        done.set()

    expected = {box: sum(box in {c.mailbox for c in m.copies} for batch in posted for m in batch) for box in boxes}
    numbered = [each for depositor in depositors for each in depositor.result()]
    assert len({each.number for each in numbered}) == len(numbered) == sum(expected.values())
    for box in boxes:
        entries = await mail_harness.numbered_entries(box)
        envelopes = [Envelope.unpack(entry.packed or b"") for entry in entries]
        assert [entry.seq for entry in entries] == list(range(1, expected[box] + 1))
        heads = expected_heads(mail_harness.mailbox_ids[box], [each.digest() for each in envelopes])
        assert [entry.head for entry in entries] == heads
        for batch in posted:
            mine = [message.message_id for message in batch if box in {copy.mailbox for copy in message.copies}]
            assert [each.message_id for each in envelopes if each.message_id in mine] == mine


async def test_the_order_of_one_poster_is_kept_whoever_deposits(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    box, done = await mail_harness.add_mailbox(), asyncio.Event()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for store in (mail_harness.store, second_node_store):
            group.create_task(deposit_until(store, [box], done))
        posted = await post_one_by_one(second_node_store, [box])
        done.set()

    mine = [message.message_id for message in posted if message.copies]
    assert [
        Envelope.unpack(entry.packed or b"").message_id for entry in await mail_harness.numbered_entries(box)
    ] == mine


async def test_acknowledging_while_mail_arrives_loses_nothing(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    box, done = await mail_harness.add_mailbox(), asyncio.Event()
    seen: list[int] = []

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(deposit_until(second_node_store, [box], done))
        poster = group.create_task(post_one_by_one(mail_harness.store, [box]))
        while not (poster.done() and done.is_set()):
            done.set() if poster.done() else None
            for entry in (await mail_harness.numbered_entries(box, len(seen)))[:5]:
                seen.append(entry.seq)
                await second_node_store.acknowledge([Acknowledgement(box, entry.seq, entry.head, entry.seq)])
            await asyncio.sleep(0)

    await mail_harness.store.deposit([box])
    seen += [entry.seq for entry in await mail_harness.numbered_entries(box, len(seen))]
    assert seen == list(range(1, POSTS + 1))


async def test_one_point_acknowledged_twice_at_once_is_answered_alike(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2")
    point = Acknowledgement(box, 2, deposited[1].head, 2)

    answers = await asyncio.gather(
        *(store.acknowledge([point]) for store in (mail_harness.store, second_node_store) * 4)
    )

    assert answers == [[Cursor(2, deposited[1].head)]] * 8
    assert await mail_harness.registry.count_contents() == 0
