"""What every mail store promises about a hello: only a right resume point is taken, and each one counts."""

import asyncio

import pytest

from tests.support.mail_store_harness import MailStoreHarness, open_mailbox
from vyry.errors import NotFound, StaleHead
from vyry.kernel.chain import first_head
from vyry.kernel.ids import MailboxKey
from vyry.mail.store import Cursor, MailStore, ResumeInfo, ResumePoint


async def test_each_hello_is_counted(mail_harness: MailStoreHarness, second_node_store: MailStore) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"one")

    first, second = [
        (await open_mailbox(store, box, 0, None)).state for store in (mail_harness.store, second_node_store)
    ]

    assert (first.connection, second.connection, second.last.seq) == (1, 2, 1)
    assert await mail_harness.store.load_states([box]) == [second]


async def test_the_start_needs_no_head_but_takes_the_right_one(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()

    state = (await open_mailbox(mail_harness.store, box, 0, first_head(mail_harness.mailbox_ids[box]))).state

    assert state.connection == 1
    with pytest.raises(StaleHead):
        await open_mailbox(mail_harness.store, box, 0, bytes(32))


async def test_the_acknowledged_point_and_stored_ones_can_be_resumed_from(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3")
    await mail_harness.acknowledge(box, 1, deposited[0].head)

    states = [(await open_mailbox(mail_harness.store, box, each.seq, each.head)).state for each in deposited]

    assert [state.connection for state in states] == [1, 2, 3]
    assert {state.acknowledged for state in states} == {Cursor(1, deposited[0].head)}


async def test_a_loss_can_be_resumed_from(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2")
    await mail_harness.store.discard(box, 2)

    state = (await open_mailbox(mail_harness.store, box, 2, deposited[1].head)).state

    assert state.last == Cursor(2, deposited[1].head)


@pytest.mark.parametrize(
    ("after", "named"), [(0, None), (0, 0), (1, 1), (2, None), (2, 3), (3, 2), (3, None), (4, 3), (1 << 40, 3)]
)
async def test_a_wrong_point_is_refused_with_the_acknowledged_one(
    mail_harness: MailStoreHarness, after: int, named: int | None
) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3")
    cursor = await mail_harness.acknowledge(box, 2, deposited[1].head)
    heads = [first_head(mail_harness.mailbox_ids[box]), *(each.head for each in deposited)]

    with pytest.raises(StaleHead) as refusal:
        await open_mailbox(mail_harness.store, box, after, None if named is None else heads[named])

    assert refusal.value.members["cursor"] == cursor
    (state,) = await mail_harness.store.load_states([box])
    assert state.connection == 0
    assert await mail_harness.acknowledge(box, 3, deposited[2].head, sent=2) is None


async def test_an_ended_or_unknown_mailbox_cannot_be_opened(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.registry.end_mailbox(box)

    with pytest.raises(NotFound):
        await open_mailbox(mail_harness.store, box, 0, None)
    with pytest.raises(NotFound):
        await open_mailbox(mail_harness.store, MailboxKey(987_654), 0, None)


async def test_noting_what_was_sent_in_an_unknown_mailbox_does_nothing(mail_harness: MailStoreHarness) -> None:
    await mail_harness.store.record_sent(MailboxKey(987_654), 3)

    assert await mail_harness.store.load_states([MailboxKey(987_654)]) == []


async def test_many_hellos_are_judged_each_by_itself(mail_harness: MailStoreHarness) -> None:
    opened, stale, ended = [await mail_harness.add_mailbox() for _ in range(3)]
    (deposited,) = await mail_harness.post_and_deposit(opened, b"one")
    await mail_harness.registry.end_mailbox(ended)
    others = [await mail_harness.add_mailbox() for _ in range(20)]
    points = [
        *(ResumePoint(box, 0, None) for box in others[:10]),
        ResumePoint(stale, 3, bytes(32)),
        ResumePoint(opened, 1, deposited.head),
        ResumePoint(ended, 0, None),
        *(ResumePoint(box, 0, None) for box in others[10:]),
    ]

    results = await mail_harness.store.open_mailboxes(points)

    welcome = [result for result in results if isinstance(result, ResumeInfo)]
    assert [result.state.mailbox for result in welcome] == [*others[:10], opened, *others[10:]]
    assert {result.state.connection for result in welcome} == {1}
    assert isinstance(results[10], StaleHead)
    (state,) = await mail_harness.store.load_states([stale])
    assert results[10].members["cursor"] == state.acknowledged
    assert isinstance(results[12], NotFound)


async def test_hellos_of_two_nodes_at_once_count_all(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(12)]
    points = [ResumePoint(box, 0, None) for box in boxes]

    async with asyncio.timeout(30):
        await asyncio.gather(
            *(mail_harness.store.open_mailboxes(points) for _ in range(10)),
            *(second_node_store.open_mailboxes(points[::-1]) for _ in range(10)),
            *(mail_harness.store.deposit(boxes) for _ in range(5)),
        )

    assert {state.connection for state in await mail_harness.store.load_states(boxes)} == {20}
