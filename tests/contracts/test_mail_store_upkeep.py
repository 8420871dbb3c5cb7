"""What every mail store promises to the sweeper, the metrics and a curious sender."""

from datetime import timedelta
from uuid import uuid4

from tests.contracts.mail_room import NOON, MailRoom, letter, texts
from vyry.ids import DeviceAddress, DeviceId, MailboxKey, MessageId, UserId
from vyry.mail.envelope import Loss
from vyry.mail.store import CopyFate, CopyState


async def test_mailboxes_with_old_unnumbered_mail_are_told_oldest_first(room: MailRoom) -> None:
    boxes = [await room.box() for _ in range(4)]
    for box, seconds in zip(boxes, (3, 1, 2, 9), strict=True):
        await room.post(letter(box, at=NOON + timedelta(seconds=seconds)), letter(box, at=NOON + timedelta(seconds=9)))

    found = await room.upkeep.unnumbered(NOON + timedelta(seconds=9), 100)

    assert found == [boxes[1], boxes[2], boxes[0]]


async def test_no_more_unnumbered_mailboxes_are_told_than_asked_for(room: MailRoom) -> None:
    boxes = [await room.box() for _ in range(4)]
    for seconds, box in enumerate(boxes):
        await room.post(letter(box, at=NOON + timedelta(seconds=seconds)))

    found = await room.upkeep.unnumbered(NOON + timedelta(hours=1), 2)

    assert found == boxes[:2]


async def test_numbered_mail_is_not_told_as_unnumbered(room: MailRoom) -> None:
    ann, bo = await room.box(), await room.box()
    await room.post(letter(ann, bo))
    await room.store.deposit([ann])

    assert await room.upkeep.unnumbered(NOON + timedelta(hours=1), 100) == [bo]


async def test_numbered_envelopes_past_their_expiry_become_losses(room: MailRoom) -> None:
    box = await room.box()
    await room.post(letter(box, lifetime=timedelta(seconds=5)), letter(box, text=b"fresh"))
    deposited = await room.store.deposit([box])
    early = await room.upkeep.expire(NOON + timedelta(seconds=4), 100)
    room.clock.advance(seconds=5)

    expired = await room.upkeep.expire(room.clock.now(), 100)

    assert (early, expired, await room.upkeep.expire(room.clock.now(), 100)) == (0, 1, 0)
    entries = await room.entries(box)
    assert [(each.seq, each.head, each.loss) for each in entries] == [
        (1, deposited[0].head, Loss.EXPIRED),
        (2, deposited[1].head, None),
    ]
    assert texts(entries) == [None, b"fresh"]
    assert await room.registry.count_contents() == 1


async def test_no_more_is_expired_at_once_than_asked_for(room: MailRoom) -> None:
    ann, bo = await room.box(), await room.box()
    await room.post(*(letter(ann, bo, lifetime=timedelta(seconds=1)) for _ in range(3)))
    await room.store.deposit([ann, bo])
    room.clock.advance(seconds=1)

    counts = [await room.upkeep.expire(room.clock.now(), 4) for _ in range(3)]

    assert counts == [4, 2, 0]
    assert await room.registry.count_contents() == 0


async def test_unnumbered_mail_is_left_to_the_deposit_when_it_expires(room: MailRoom) -> None:
    box = await room.box()
    await room.post(letter(box, lifetime=timedelta(seconds=1)))
    room.clock.advance(seconds=1)

    expired = await room.upkeep.expire(room.clock.now(), 100)

    assert expired == 0
    assert [each.loss for each in await room.store.deposit([box])] == [Loss.EXPIRED]


async def test_parked_entries_do_not_expire(room: MailRoom) -> None:
    box = await room.box()
    await room.post(letter(box, lifetime=timedelta(seconds=1)))
    await room.store.deposit([box])
    await room.store.park(box, 1)
    room.clock.advance(seconds=1)

    assert await room.upkeep.expire(room.clock.now(), 100) == 0
    assert [entry.loss for entry in await room.entries(box)] == [Loss.PARKED]


async def test_retired_outcomes_and_fates_are_forgotten(room: MailRoom) -> None:
    user = UserId(uuid4())
    sender, box = await room.box(user), await room.box()
    old, young = letter(box, sender=sender), letter(box, sender=sender, at=NOON + timedelta(days=2))
    await room.post(old)
    (first,) = await room.store.deposit([box])
    await room.acknowledge(box, 1, first.head)
    room.clock.advance(days=2)
    await room.post(young)

    gone = await room.upkeep.retire(NOON + timedelta(days=1), 100)

    assert (gone, await room.upkeep.retire(NOON + timedelta(days=1), 100)) == (2, 0)
    assert await room.upkeep.fates(user, old.message_id) is None
    assert await room.upkeep.fates(user, young.message_id) is not None


async def test_retiring_takes_no_more_than_asked_for(room: MailRoom) -> None:
    box = await room.box()
    for n in range(5):
        (entry,) = await room.fill(box, b"x")
        await room.acknowledge(box, n + 1, entry.head)

    counts = [await room.upkeep.retire(NOON + timedelta(days=1), 4) for _ in range(6)]

    assert (sum(counts), max(counts), counts[-1]) == (10, 4, 0)


async def test_the_sender_sees_what_became_of_each_copy(room: MailRoom) -> None:
    user, readers = UserId(uuid4()), [UserId(uuid4()) for _ in range(5)]
    sender = await room.box(user)
    waiting, here, read, parked, ended = boxes = [await room.box(reader, n) for n, reader in enumerate(readers, 1)]
    message = letter(*boxes, sender=sender)
    await room.registry.end_mailbox(ended)
    await room.post(message)
    heads = {each.mailbox: each.head for each in await room.store.deposit([here, read, parked])}
    room.clock.advance(minutes=1)
    later = room.clock.now()
    await room.acknowledge(read, 1, heads[read])
    await room.store.park(parked, 1)

    fates = await room.upkeep.fates(user, message.message_id)

    states = (CopyState.ACCEPTED, CopyState.DEPOSITED, CopyState.ACKNOWLEDGED, CopyState.DROPPED, CopyState.DROPPED)
    assert fates == [
        CopyFate(DeviceAddress(readers[n], DeviceId(n + 1)), state, at, NOON, message.conversation_id)
        for n, (state, at) in enumerate(zip(states, (NOON, NOON, later, later, NOON), strict=True))
    ]
    assert waiting in boxes


async def test_expired_copies_are_told_as_expired_also_after_the_reader_acknowledged_the_loss(room: MailRoom) -> None:
    user = UserId(uuid4())
    sender, ann, bo = await room.box(user), await room.box(), await room.box()
    message = letter(ann, bo, sender=sender, lifetime=timedelta(seconds=5))
    await room.post(message)
    (first,) = await room.store.deposit([ann])
    room.clock.advance(seconds=5)
    (second,) = await room.store.deposit([bo])
    await room.upkeep.expire(room.clock.now(), 100)
    await room.acknowledge(ann, 1, first.head)
    await room.acknowledge(bo, 1, second.head)

    fates = await room.upkeep.fates(user, message.message_id)

    assert [(fate.state, fate.at) for fate in fates or []] == [(CopyState.EXPIRED, room.clock.now())] * 2


async def test_a_loss_is_told_as_expired_before_the_sweeper_comes_and_after_its_reader_acknowledged_it(
    room: MailRoom,
) -> None:
    user = UserId(uuid4())
    sender, ann, bo = await room.box(user), await room.box(), await room.box()
    message = letter(ann, bo, sender=sender, lifetime=timedelta(seconds=5))
    await room.post(message)
    heads = {each.mailbox: each.head for each in await room.store.deposit([ann, bo])}
    room.clock.advance(seconds=5)
    await room.acknowledge(ann, 1, heads[ann])

    fates = await room.upkeep.fates(user, message.message_id)

    assert [(fate.state, fate.at) for fate in fates or []] == [(CopyState.EXPIRED, room.clock.now())] * 2
    assert [entry.loss for entry in await room.entries(bo)] == [Loss.EXPIRED]


async def test_any_device_of_the_sending_account_may_ask_and_nobody_else(room: MailRoom) -> None:
    user, stranger = UserId(uuid4()), UserId(uuid4())
    await room.box(user, 1)
    phone, box = await room.box(user, 2), await room.box(stranger)
    message = letter(box, sender=phone)
    await room.post(message)

    fates = await room.upkeep.fates(user, message.message_id)

    assert [fate.state for fate in fates or []] == [CopyState.ACCEPTED]
    assert await room.upkeep.fates(stranger, message.message_id) is None
    assert await room.upkeep.fates(user, MessageId(uuid4())) is None


async def test_a_message_to_nobody_has_no_fates_but_exists(room: MailRoom) -> None:
    user = UserId(uuid4())
    message = letter(sender=await room.box(user))
    await room.post(message)

    assert await room.upkeep.fates(user, message.message_id) == []


async def test_the_depth_tells_the_age_of_the_oldest_unnumbered_envelope(room: MailRoom) -> None:
    ann, bo = await room.box(), await room.box()
    empty = await room.upkeep.depth()
    await room.post(letter(ann, at=NOON - timedelta(seconds=3)), letter(bo, at=NOON - timedelta(seconds=9)))
    (_, both), _ = await room.upkeep.depth(), await room.store.deposit([bo])
    waiting, one = await room.upkeep.depth()

    assert (empty[1], both, one) == (0.0, 9.0, 3.0)
    assert waiting >= 0


async def test_mail_for_an_ended_mailbox_is_told_as_dropped(room: MailRoom) -> None:
    user = UserId(uuid4())
    sender, box = await room.box(user), await room.box()
    message = letter(box, sender=sender)
    await room.post(message)
    await room.registry.end_mailbox(box)

    await room.store.deposit([box])

    fates = await room.upkeep.fates(user, message.message_id)
    assert [fate.state for fate in fates or []] == [CopyState.DROPPED]
    assert box != MailboxKey(0)


async def test_a_clock_in_doubt_decides_of_no_envelope_that_its_life_is_over(room: MailRoom) -> None:
    ann, bo = await room.box(), await room.box()
    await room.post(letter(ann, text=b"waits"), letter(bo, text=b"waits without a number"))
    await room.store.deposit([ann])
    room.clock.sure = NOON
    room.clock.advance(days=100)

    await room.store.deposit([bo])
    expired = await room.upkeep.expire(room.clock.confirmed(), 100)

    assert expired == 0
    assert texts([*await room.entries(ann), *await room.entries(bo)]) == [b"waits", b"waits without a number"]


async def test_what_was_read_while_the_clock_was_in_doubt_is_told_as_read(room: MailRoom) -> None:
    user, box = UserId(uuid4()), await room.box()
    sender = await room.box(user)
    message = letter(box, sender=sender, at=NOON + timedelta(days=100))
    room.clock.sure = NOON
    room.clock.advance(days=100)
    await room.post(message)
    (deposited,) = await room.store.deposit([box])

    await room.acknowledge(box, 1, deposited.head)

    (fate,) = await room.upkeep.fates(user, message.message_id) or []
    assert fate.state is CopyState.ACKNOWLEDGED
