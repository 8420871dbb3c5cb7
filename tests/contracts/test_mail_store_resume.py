"""What every mail store promises about a hello: only a right resume point is taken, and each one counts."""

import pytest

from tests.support.mail_store_harness import MailStoreHarness
from vyry.errors import NotFound, StaleHead
from vyry.kernel.chain import first_head
from vyry.kernel.ids import MailboxKey
from vyry.mail.store import Cursor, MailStore


async def test_each_hello_is_counted(mail_harness: MailStoreHarness, second_node_store: MailStore) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"one")

    first, second = [
        (await store.open_mailbox(box, 0, None)).state for store in (mail_harness.store, second_node_store)
    ]

    assert (first.connection, second.connection, second.last.seq) == (1, 2, 1)
    assert await mail_harness.store.load_states([box]) == [second]


async def test_the_start_needs_no_head_but_takes_the_right_one(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()

    state = (await mail_harness.store.open_mailbox(box, 0, first_head(mail_harness.mailbox_ids[box]))).state

    assert state.connection == 1
    with pytest.raises(StaleHead):
        await mail_harness.store.open_mailbox(box, 0, bytes(32))


async def test_the_acknowledged_point_and_stored_ones_can_be_resumed_from(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3")
    await mail_harness.acknowledge(box, 1, deposited[0].head)

    states = [(await mail_harness.store.open_mailbox(box, each.seq, each.head)).state for each in deposited]

    assert [state.connection for state in states] == [1, 2, 3]
    assert {state.acknowledged for state in states} == {Cursor(1, deposited[0].head)}


async def test_a_loss_can_be_resumed_from(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2")
    await mail_harness.store.discard(box, 2)

    state = (await mail_harness.store.open_mailbox(box, 2, deposited[1].head)).state

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
        await mail_harness.store.open_mailbox(box, after, None if named is None else heads[named])

    assert refusal.value.members["cursor"] == cursor
    (state,) = await mail_harness.store.load_states([box])
    assert state.connection == 0
    assert await mail_harness.acknowledge(box, 3, deposited[2].head, sent=2) is None


async def test_an_ended_or_unknown_mailbox_cannot_be_opened(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.registry.end_mailbox(box)

    with pytest.raises(NotFound):
        await mail_harness.store.open_mailbox(box, 0, None)
    with pytest.raises(NotFound):
        await mail_harness.store.open_mailbox(MailboxKey(987_654), 0, None)


async def test_noting_what_was_sent_in_an_unknown_mailbox_does_nothing(mail_harness: MailStoreHarness) -> None:
    await mail_harness.store.record_sent(MailboxKey(987_654), 3)

    assert await mail_harness.store.load_states([MailboxKey(987_654)]) == []
