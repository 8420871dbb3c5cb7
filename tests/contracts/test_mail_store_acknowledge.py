"""What every mail store promises about acknowledge and park: only what is right moves the point; what is safe elsewhere is deleted at once."""

from tests.contracts.mail_room import MailRoom, letter, texts
from vyry.ids import MailboxKey
from vyry.mail.envelope import Loss
from vyry.mail.store import Cursor, MailStore, Point


async def test_everything_up_to_the_point_is_deleted_at_once(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2", b"3")

    cursor = await room.acknowledge(box, 2, deposited[1].head)

    assert cursor == Cursor(2, deposited[1].head)
    assert [entry.seq for entry in await room.entries(box)] == [3]
    assert await room.registry.count_contents() == 1
    (state,) = await room.store.states([box])
    assert (state.acknowledged, state.last.seq) == (cursor, 3)


async def test_all_of_a_mailbox_can_be_acknowledged_and_numbers_go_on(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2")
    await room.acknowledge(box, 2, deposited[1].head)

    (third,) = await room.fill(box, b"3")

    assert third.seq == 3
    assert [entry.seq for entry in await room.entries(box)] == [3]


async def test_a_wrong_head_changes_nothing(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2")

    answers = [await room.acknowledge(box, 2, head) for head in (deposited[0].head, bytes(32), b"")]

    assert answers == [None, None, None]
    assert len(await room.entries(box)) == 2
    assert await room.registry.count_contents() == 2


async def test_a_point_beyond_the_last_number_changes_nothing(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1")
    await room.post(letter(box))

    answers = [await room.acknowledge(box, seq, deposited[0].head) for seq in (2, 3, 1 << 40)]

    assert answers == [None, None, None]
    assert len(await room.entries(box)) == 1


async def test_what_was_not_sent_cannot_be_acknowledged(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2", b"3")

    beyond = await room.acknowledge(box, 2, deposited[1].head, sent=1)
    present = await room.acknowledge(box, 1, deposited[0].head, sent=1)

    assert (beyond, present) == (None, Cursor(1, deposited[0].head))
    assert [entry.seq for entry in await room.entries(box)] == [2, 3]


async def test_what_was_returned_by_rest_was_sent(room: MailRoom, twin: MailStore) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2", b"3")
    await room.store.sent(box, 2)
    await twin.sent(box, 1)

    beyond = await room.acknowledge(box, 3, deposited[2].head, sent=0)
    cursor = await room.acknowledge(box, 2, deposited[1].head, sent=0)

    assert (beyond, cursor) == (None, Cursor(2, deposited[1].head))


async def test_what_a_right_hello_named_was_sent(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2", b"3")
    await room.store.open_mailbox(box, 2, deposited[1].head)
    await room.store.open_mailbox(box, 1, deposited[0].head)

    beyond = await room.acknowledge(box, 3, deposited[2].head, sent=0)
    cursor = await room.acknowledge(box, 2, deposited[1].head, sent=0)

    assert (beyond, cursor) == (None, Cursor(2, deposited[1].head))


async def test_the_present_point_and_lower_ones_are_answered_with_the_present(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2", b"3")
    present = await room.acknowledge(box, 2, deposited[1].head)

    answers = [
        await room.acknowledge(box, seq, head) for seq, head in [(2, deposited[1].head), (1, b"any"), (0, bytes(32))]
    ]

    assert answers == [present] * 3
    assert [entry.seq for entry in await room.entries(box)] == [3]


async def test_nothing_can_be_acknowledged_in_an_unknown_mailbox(room: MailRoom) -> None:
    assert await room.acknowledge(MailboxKey(987_654), 1, bytes(32)) is None


async def test_points_of_one_call_stand_and_fall_alone(room: MailRoom) -> None:
    ann, bo, eve = await room.box(), await room.box(), await room.box()
    await room.post(letter(ann, bo, eve), letter(ann, bo, eve))
    deposited = {(each.mailbox, each.seq): each.head for each in await room.store.deposit([ann, bo, eve])}

    cursors = await room.store.acknowledge(
        [Point(ann, 1, deposited[ann, 1], 2), Point(bo, 2, bytes(32), 2), Point(eve, 2, deposited[eve, 2], 2)]
    )

    assert cursors == [Cursor(1, deposited[ann, 1]), None, Cursor(2, deposited[eve, 2])]
    assert [len(await room.entries(box)) for box in (ann, bo, eve)] == [1, 2, 0]
    assert await room.store.acknowledge([]) == []


async def test_unnumbered_mail_is_never_acknowledged(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1")
    await room.post(letter(box, text=b"2"))

    await room.acknowledge(box, 1, deposited[0].head)

    await room.store.deposit([box])
    assert texts(await room.entries(box)) == [b"2"]


async def test_shared_content_stays_until_its_last_copy_is_acknowledged(room: MailRoom) -> None:
    boxes = [await room.box() for _ in range(3)]
    await room.post(letter(*boxes, text=b"shared"), letter(boxes[0], text=b"own"))
    heads = {(each.mailbox, each.seq): each.head for each in await room.store.deposit(boxes)}
    await room.store.acknowledge([Point(box, 1, heads[box, 1], 1) for box in boxes[:2]])

    left = await room.registry.count_contents(), texts(await room.entries(boxes[2]))
    await room.acknowledge(boxes[2], 1, heads[boxes[2], 1])

    assert left == (2, [b"shared"])
    assert await room.registry.count_contents() == 1


async def test_shared_content_goes_when_all_its_copies_go_at_once(room: MailRoom) -> None:
    boxes = [await room.box() for _ in range(3)]
    await room.post(letter(*boxes))
    deposited = await room.store.deposit(boxes)

    await room.store.acknowledge([Point(each.mailbox, each.seq, each.head, each.seq) for each in deposited])

    assert await room.registry.count_contents() == 0


async def test_an_acknowledged_point_is_the_same_for_all_nodes(room: MailRoom, twin: MailStore) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2")
    cursor = await room.acknowledge(box, 1, deposited[0].head)

    again = await twin.acknowledge([Point(box, 1, deposited[0].head)])

    assert again == [cursor]


async def test_a_parked_entry_reads_as_a_loss_with_its_head(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2", b"3")

    is_parked = await room.store.park(box, 2)

    entries = await room.entries(box)
    assert is_parked
    assert [(entry.loss, entry.head) for entry in entries] == [
        (loss, each.head) for loss, each in zip((None, Loss.PARKED, None), deposited, strict=True)
    ]
    assert texts(entries) == [b"1", None, b"3"]
    assert await room.registry.count_contents() == 2


async def test_parking_a_loss_changes_nothing(room: MailRoom) -> None:
    box = await room.box()
    await room.fill(box, b"1")
    await room.store.park(box, 1)

    is_parked = await room.store.park(box, 1)

    assert is_parked
    assert [entry.loss for entry in await room.entries(box)] == [Loss.PARKED]


async def test_what_is_acknowledged_or_was_never_numbered_cannot_be_parked(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2")
    await room.post(letter(box))
    await room.acknowledge(box, 1, deposited[0].head)

    answers = [await room.store.park(box, seq) for seq in (0, 1, 3)]

    assert answers == [False, False, False]
    assert not await room.store.park(MailboxKey(987_654), 1)


async def test_a_parked_copy_leaves_the_shared_content_to_the_others(room: MailRoom) -> None:
    ann, bo = await room.box(), await room.box()
    await room.post(letter(ann, bo, text=b"shared"))
    await room.store.deposit([ann, bo])

    await room.store.park(ann, 1)

    assert texts(await room.entries(bo)) == [b"shared"]


async def test_losses_are_acknowledged_like_entries(room: MailRoom) -> None:
    box = await room.box()
    deposited = await room.fill(box, b"1", b"2")
    await room.store.park(box, 2)

    cursor = await room.acknowledge(box, 2, deposited[1].head)

    assert cursor == Cursor(2, deposited[1].head)
    assert (await room.entries(box), await room.registry.count_contents()) == ([], 0)
