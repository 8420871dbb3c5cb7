"""What every mail store promises about states and collect: in order, without holes, within the window."""

from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.mail_store_harness import MailStoreHarness, contents_of, make_message
from vyry.kernel.chain import first_head
from vyry.kernel.ids import MailboxId, MailboxKey
from vyry.mail.envelope import Envelope, LossReason
from vyry.mail.store import CollectRequest, Cursor


PLENTY = 1 << 30


async def test_a_new_mailbox_stands_at_its_first_head(mail_harness: MailStoreHarness) -> None:
    mailbox_id = MailboxId(UUID(int=77))
    box = await mail_harness.add_mailbox(mailbox_id=mailbox_id)

    (state,) = await mail_harness.store.load_states([box])

    start = Cursor(0, first_head(mailbox_id))
    assert (state.mailbox, state.mailbox_id, state.last, state.acknowledged) == (box, mailbox_id, start, start)
    assert (state.connection, state.is_ended) == (0, False)


async def test_states_leave_out_what_does_not_exist_and_tell_what_has_ended(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.registry.end_mailbox(bo)

    states = await mail_harness.store.load_states([ann, bo, MailboxKey(987_654)])

    assert {state.mailbox: state.is_ended for state in states} == {ann: False, bo: True}


async def test_unnumbered_mail_is_not_collected(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(make_message(box))

    assert await mail_harness.numbered_entries(box) == []


async def test_entries_after_a_point_come_whole_and_in_order(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3", b"4")

    entries = await mail_harness.numbered_entries(box, after=1)

    assert [(each.seq, each.head, each.number) for each in entries] == [
        (each.seq, each.head, each.number) for each in deposited[1:]
    ]
    assert contents_of(entries) == [b"2", b"3", b"4"]
    assert await mail_harness.numbered_entries(box, after=4) == []


async def test_an_envelope_comes_back_as_it_was_packed(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    message = make_message(box, text=bytes(range(256)) * 256)
    await mail_harness.post(message)
    await mail_harness.store.deposit([box])

    (entry,) = await mail_harness.numbered_entries(box)

    assert entry.packed == message.contents[0].packed
    assert Envelope.unpack(entry.packed).message_id == message.message_id


async def test_reading_behind_the_acknowledged_point_starts_just_after_it(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3" * 1000)
    await mail_harness.acknowledge(box, 2, deposited[1].head)

    entries = await mail_harness.store.collect([CollectRequest(box, 0, 10, 1)])

    assert [each.seq for each in entries] == [3]


@pytest.mark.parametrize(
    ("entries", "size", "expected"),
    [
        pytest.param(2, PLENTY, [1, 2], id="entries"),
        pytest.param(10, 25, [1, 2], id="bytes"),
        pytest.param(10, 30, [1, 2, 3], id="bytes that just fit"),
        pytest.param(10, 1, [1], id="the first always fits"),
        pytest.param(1, 0, [1], id="the first fits into nothing"),
    ],
)
async def test_a_window_is_kept(mail_harness: MailStoreHarness, entries: int, size: int, expected: list[int]) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, *(b"x" * 10 for _ in range(4)))

    found = await mail_harness.store.collect([CollectRequest(box, 0, entries, size)])

    assert [each.seq for each in found] == expected


async def test_nothing_after_one_that_does_not_fit_is_taken(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"x" * 10, b"x" * 100, b"x")

    found = await mail_harness.store.collect([CollectRequest(box, 0, 10, 50)])

    assert [each.seq for each in found] == [1]


async def test_losses_take_no_bytes_of_the_window(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"x" * 10, b"x" * 100, b"x" * 10)
    await mail_harness.store.discard(box, 2)

    found = await mail_harness.store.collect([CollectRequest(box, 0, 10, 20)])

    assert [(each.seq, each.loss_reason) for each in found] == [(1, None), (2, LossReason.PARKED), (3, None)]


async def test_many_wants_are_served_at_once_grouped_by_mailbox(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(5)]
    await mail_harness.post(*(make_message(*boxes) for _ in range(3)))
    await mail_harness.store.deposit(boxes)

    found = await mail_harness.store.collect(
        [CollectRequest(box, after, 2, PLENTY) for box, after in zip(boxes, (0, 1, 2, 3, 0), strict=True)]
    )

    assert [(each.mailbox, each.seq) for each in found] == [
        *((boxes[0], seq) for seq in (1, 2)),
        *((boxes[1], seq) for seq in (2, 3)),
        (boxes[2], 3),
        *((boxes[4], seq) for seq in (1, 2)),
    ]


async def test_wants_of_unknown_mailboxes_are_answered_with_nothing(mail_harness: MailStoreHarness) -> None:
    assert await mail_harness.store.collect([CollectRequest(MailboxKey(987_654), 0, 10, PLENTY)]) == []
    assert await mail_harness.store.collect([]) == []


async def test_past_its_expiry_a_stored_envelope_reads_as_expired(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(make_message(box, lifetime=timedelta(seconds=5)), make_message(box, text=b"fresh"))
    deposited = await mail_harness.store.deposit([box])
    mail_harness.clock.advance(seconds=5)

    entries = await mail_harness.numbered_entries(box)

    assert [each.loss_reason for each in deposited] == [None, None]
    assert [(each.loss_reason, each.packed is None) for each in entries] == [(LossReason.EXPIRED, True), (None, False)]
    assert [each.head for each in entries] == [each.head for each in deposited]
