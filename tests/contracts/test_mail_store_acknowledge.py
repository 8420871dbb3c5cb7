"""What every mail store promises about acknowledge and park: only what is right moves the point; what is safe elsewhere is deleted at once."""

from tests.support.mail_store_harness import MailStoreHarness, contents_of, make_message, open_mailbox
from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import LossReason
from vyry.mail.store import Acknowledgement, Cursor, MailStore


async def test_everything_up_to_the_point_is_deleted_at_once(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3")

    cursor = await mail_harness.acknowledge(box, 2, deposited[1].head)

    assert cursor == Cursor(2, deposited[1].head)
    assert [entry.seq for entry in await mail_harness.numbered_entries(box)] == [3]
    assert await mail_harness.registry.count_contents() == 1
    (state,) = await mail_harness.store.load_states([box])
    assert (state.acknowledged, state.last.seq) == (cursor, 3)


async def test_all_of_a_mailbox_can_be_acknowledged_and_numbers_go_on(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2")
    await mail_harness.acknowledge(box, 2, deposited[1].head)

    (third,) = await mail_harness.post_and_deposit(box, b"3")

    assert third.seq == 3
    assert [entry.seq for entry in await mail_harness.numbered_entries(box)] == [3]


async def test_a_wrong_head_changes_nothing(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2")

    answers = [await mail_harness.acknowledge(box, 2, head) for head in (deposited[0].head, bytes(32), b"")]

    assert answers == [None, None, None]
    assert len(await mail_harness.numbered_entries(box)) == 2
    assert await mail_harness.registry.count_contents() == 2


async def test_a_point_beyond_the_last_number_changes_nothing(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1")
    await mail_harness.post(make_message(box))

    answers = [await mail_harness.acknowledge(box, seq, deposited[0].head) for seq in (2, 3, 1 << 40)]

    assert answers == [None, None, None]
    assert len(await mail_harness.numbered_entries(box)) == 1


async def test_what_was_not_sent_cannot_be_acknowledged(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3")

    beyond = await mail_harness.acknowledge(box, 2, deposited[1].head, sent=1)
    present = await mail_harness.acknowledge(box, 1, deposited[0].head, sent=1)

    assert (beyond, present) == (None, Cursor(1, deposited[0].head))
    assert [entry.seq for entry in await mail_harness.numbered_entries(box)] == [2, 3]


async def test_what_was_returned_by_rest_was_sent(mail_harness: MailStoreHarness, second_node_store: MailStore) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3")
    await mail_harness.store.record_sent(box, 2)
    await second_node_store.record_sent(box, 1)

    beyond = await mail_harness.acknowledge(box, 3, deposited[2].head, sent=0)
    cursor = await mail_harness.acknowledge(box, 2, deposited[1].head, sent=0)

    assert (beyond, cursor) == (None, Cursor(2, deposited[1].head))


async def test_what_a_right_hello_named_was_sent(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3")
    await open_mailbox(mail_harness.store, box, 2, deposited[1].head)
    await open_mailbox(mail_harness.store, box, 1, deposited[0].head)

    beyond = await mail_harness.acknowledge(box, 3, deposited[2].head, sent=0)
    cursor = await mail_harness.acknowledge(box, 2, deposited[1].head, sent=0)

    assert (beyond, cursor) == (None, Cursor(2, deposited[1].head))


async def test_the_present_point_and_lower_ones_are_answered_with_the_present(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3")
    present = await mail_harness.acknowledge(box, 2, deposited[1].head)

    answers = [
        await mail_harness.acknowledge(box, seq, head)
        for seq, head in [(2, deposited[1].head), (1, b"any"), (0, bytes(32))]
    ]

    assert answers == [present] * 3
    assert [entry.seq for entry in await mail_harness.numbered_entries(box)] == [3]


async def test_nothing_can_be_acknowledged_in_an_unknown_mailbox(mail_harness: MailStoreHarness) -> None:
    assert await mail_harness.acknowledge(MailboxKey(987_654), 1, bytes(32)) is None


async def test_points_of_one_call_stand_and_fall_alone(mail_harness: MailStoreHarness) -> None:
    ann, bo, eve = await mail_harness.add_mailbox(), await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(ann, bo, eve), make_message(ann, bo, eve))
    deposited = {(each.mailbox, each.seq): each.head for each in await mail_harness.store.deposit([ann, bo, eve])}

    cursors = await mail_harness.store.acknowledge(
        [
            Acknowledgement(ann, 1, deposited[ann, 1], 2),
            Acknowledgement(bo, 2, bytes(32), 2),
            Acknowledgement(eve, 2, deposited[eve, 2], 2),
        ]
    )

    assert cursors == [Cursor(1, deposited[ann, 1]), None, Cursor(2, deposited[eve, 2])]
    assert [len(await mail_harness.numbered_entries(box)) for box in (ann, bo, eve)] == [1, 2, 0]
    assert await mail_harness.store.acknowledge([]) == []


async def test_unnumbered_mail_is_never_acknowledged(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1")
    await mail_harness.post(make_message(box, text=b"2"))

    await mail_harness.acknowledge(box, 1, deposited[0].head)

    await mail_harness.store.deposit([box])
    assert contents_of(await mail_harness.numbered_entries(box)) == [b"2"]


async def test_shared_content_stays_until_its_last_copy_is_acknowledged(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(3)]
    await mail_harness.post(make_message(*boxes, text=b"shared"), make_message(boxes[0], text=b"own"))
    heads = {(each.mailbox, each.seq): each.head for each in await mail_harness.store.deposit(boxes)}
    await mail_harness.store.acknowledge([Acknowledgement(box, 1, heads[box, 1], 1) for box in boxes[:2]])

    left = await mail_harness.registry.count_contents(), contents_of(await mail_harness.numbered_entries(boxes[2]))
    await mail_harness.acknowledge(boxes[2], 1, heads[boxes[2], 1])

    assert left == (2, [b"shared"])
    assert await mail_harness.registry.count_contents() == 1


async def test_shared_content_goes_when_all_its_copies_go_at_once(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(3)]
    await mail_harness.post(make_message(*boxes))
    deposited = await mail_harness.store.deposit(boxes)

    await mail_harness.store.acknowledge(
        [Acknowledgement(each.mailbox, each.seq, each.head, each.seq) for each in deposited]
    )

    assert await mail_harness.registry.count_contents() == 0


async def test_an_acknowledged_point_is_the_same_for_all_nodes(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2")
    cursor = await mail_harness.acknowledge(box, 1, deposited[0].head)

    again = await second_node_store.acknowledge([Acknowledgement(box, 1, deposited[0].head)])

    assert again == [cursor]


async def test_a_parked_entry_reads_as_a_loss_with_its_head(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3")

    is_parked = await mail_harness.store.discard(box, 2)

    entries = await mail_harness.numbered_entries(box)
    assert is_parked
    assert [(entry.loss_reason, entry.head) for entry in entries] == [
        (loss, each.head) for loss, each in zip((None, LossReason.PARKED, None), deposited, strict=True)
    ]
    assert contents_of(entries) == [b"1", None, b"3"]
    assert await mail_harness.registry.count_contents() == 2


async def test_parking_a_loss_changes_nothing(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"1")
    await mail_harness.store.discard(box, 1)

    is_parked = await mail_harness.store.discard(box, 1)

    assert is_parked
    assert [entry.loss_reason for entry in await mail_harness.numbered_entries(box)] == [LossReason.PARKED]


async def test_what_is_acknowledged_or_was_never_numbered_cannot_be_parked(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2")
    await mail_harness.post(make_message(box))
    await mail_harness.acknowledge(box, 1, deposited[0].head)

    answers = [await mail_harness.store.discard(box, seq) for seq in (0, 1, 3)]

    assert answers == [False, False, False]
    assert not await mail_harness.store.discard(MailboxKey(987_654), 1)


async def test_a_parked_copy_leaves_the_shared_content_to_the_others(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(ann, bo, text=b"shared"))
    await mail_harness.store.deposit([ann, bo])

    await mail_harness.store.discard(ann, 1)

    assert contents_of(await mail_harness.numbered_entries(bo)) == [b"shared"]


async def test_losses_are_acknowledged_like_entries(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2")
    await mail_harness.store.discard(box, 2)

    cursor = await mail_harness.acknowledge(box, 2, deposited[1].head)

    assert cursor == Cursor(2, deposited[1].head)
    assert (await mail_harness.numbered_entries(box), await mail_harness.registry.count_contents()) == ([], 0)
