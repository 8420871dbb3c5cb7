"""What every mail store promises to the sweeper, the metrics and a curious sender."""

from datetime import timedelta
from uuid import uuid4

from tests.support.mail_store_harness import NOON, MailStoreHarness, contents_of, make_message
from vyry.kernel.ids import DeviceAddress, DeviceId, MailboxKey, MessageId, UserId
from vyry.mail.envelope import LossReason
from vyry.mail.store import CopyState, CopyStatus


async def test_mailboxes_with_old_unnumbered_mail_are_told_oldest_first(room: MailStoreHarness) -> None:
    boxes = [await room.add_mailbox() for _ in range(4)]
    for box, seconds in zip(boxes, (3, 1, 2, 9), strict=True):
        await room.post(
            make_message(box, at=NOON + timedelta(seconds=seconds)), make_message(box, at=NOON + timedelta(seconds=9))
        )

    found = await room.upkeep.find_unnumbered(NOON + timedelta(seconds=9), 100)

    assert found == [boxes[1], boxes[2], boxes[0]]


async def test_no_more_unnumbered_mailboxes_are_told_than_asked_for(room: MailStoreHarness) -> None:
    boxes = [await room.add_mailbox() for _ in range(4)]
    for seconds, box in enumerate(boxes):
        await room.post(make_message(box, at=NOON + timedelta(seconds=seconds)))

    found = await room.upkeep.find_unnumbered(NOON + timedelta(hours=1), 2)

    assert found == boxes[:2]


async def test_numbered_mail_is_not_told_as_unnumbered(room: MailStoreHarness) -> None:
    ann, bo = await room.add_mailbox(), await room.add_mailbox()
    await room.post(make_message(ann, bo))
    await room.store.deposit([ann])

    assert await room.upkeep.find_unnumbered(NOON + timedelta(hours=1), 100) == [bo]


async def test_numbered_envelopes_past_their_expiry_become_losses(room: MailStoreHarness) -> None:
    box = await room.add_mailbox()
    await room.post(make_message(box, lifetime=timedelta(seconds=5)), make_message(box, text=b"fresh"))
    deposited = await room.store.deposit([box])
    early = await room.upkeep.expire(NOON + timedelta(seconds=4), 100)
    room.clock.advance(seconds=5)

    expired = await room.upkeep.expire(room.clock.now(), 100)

    assert (early, expired, await room.upkeep.expire(room.clock.now(), 100)) == (0, 1, 0)
    entries = await room.numbered_entries(box)
    assert [(each.seq, each.head, each.loss_reason) for each in entries] == [
        (1, deposited[0].head, LossReason.EXPIRED),
        (2, deposited[1].head, None),
    ]
    assert contents_of(entries) == [None, b"fresh"]
    assert await room.registry.count_contents() == 1


async def test_no_more_is_expired_at_once_than_asked_for(room: MailStoreHarness) -> None:
    ann, bo = await room.add_mailbox(), await room.add_mailbox()
    await room.post(*(make_message(ann, bo, lifetime=timedelta(seconds=1)) for _ in range(3)))
    await room.store.deposit([ann, bo])
    room.clock.advance(seconds=1)

    counts = [await room.upkeep.expire(room.clock.now(), 4) for _ in range(3)]

    assert counts == [4, 2, 0]
    assert await room.registry.count_contents() == 0


async def test_unnumbered_mail_is_left_to_the_deposit_when_it_expires(room: MailStoreHarness) -> None:
    box = await room.add_mailbox()
    await room.post(make_message(box, lifetime=timedelta(seconds=1)))
    room.clock.advance(seconds=1)

    expired = await room.upkeep.expire(room.clock.now(), 100)

    assert expired == 0
    assert [each.loss_reason for each in await room.store.deposit([box])] == [LossReason.EXPIRED]


async def test_parked_entries_do_not_expire(room: MailStoreHarness) -> None:
    box = await room.add_mailbox()
    await room.post(make_message(box, lifetime=timedelta(seconds=1)))
    await room.store.deposit([box])
    await room.store.discard(box, 1)
    room.clock.advance(seconds=1)

    assert await room.upkeep.expire(room.clock.now(), 100) == 0
    assert [entry.loss_reason for entry in await room.numbered_entries(box)] == [LossReason.PARKED]


async def test_retired_outcomes_and_fates_are_forgotten(room: MailStoreHarness) -> None:
    user = UserId(uuid4())
    sender, box = await room.add_mailbox(user), await room.add_mailbox()
    old, young = make_message(box, sender=sender), make_message(box, sender=sender, at=NOON + timedelta(days=2))
    await room.post(old)
    (first,) = await room.store.deposit([box])
    await room.acknowledge(box, 1, first.head)
    room.clock.advance(days=2)
    await room.post(young)

    gone = await room.upkeep.delete_old_outcomes(NOON + timedelta(days=1), 100)

    assert (gone, await room.upkeep.delete_old_outcomes(NOON + timedelta(days=1), 100)) == (2, 0)
    assert await room.upkeep.copy_statuses(user, old.message_id) is None
    assert await room.upkeep.copy_statuses(user, young.message_id) is not None


async def test_retiring_takes_no_more_than_asked_for(room: MailStoreHarness) -> None:
    box = await room.add_mailbox()
    for n in range(5):
        (entry,) = await room.post_and_deposit(box, b"x")
        await room.acknowledge(box, n + 1, entry.head)

    counts = [await room.upkeep.delete_old_outcomes(NOON + timedelta(days=1), 4) for _ in range(6)]

    assert (sum(counts), max(counts), counts[-1]) == (10, 4, 0)


async def test_the_sender_sees_what_became_of_each_copy(room: MailStoreHarness) -> None:
    user, readers = UserId(uuid4()), [UserId(uuid4()) for _ in range(5)]
    sender = await room.add_mailbox(user)
    waiting, here, read, parked, ended = boxes = [
        await room.add_mailbox(reader, n) for n, reader in enumerate(readers, 1)
    ]
    message = make_message(*boxes, sender=sender)
    await room.registry.end_mailbox(ended)
    await room.post(message)
    heads = {each.mailbox: each.head for each in await room.store.deposit([here, read, parked])}
    room.clock.advance(minutes=1)
    later = room.clock.now()
    await room.acknowledge(read, 1, heads[read])
    await room.store.discard(parked, 1)

    fates = await room.upkeep.copy_statuses(user, message.message_id)

    states = (CopyState.ACCEPTED, CopyState.DEPOSITED, CopyState.ACKNOWLEDGED, CopyState.DROPPED, CopyState.DROPPED)
    assert fates == [
        CopyStatus(DeviceAddress(readers[n], DeviceId(n + 1)), state, at, NOON, message.conversation_id)
        for n, (state, at) in enumerate(zip(states, (NOON, NOON, later, later, NOON), strict=True))
    ]
    assert waiting in boxes


async def test_expired_copies_are_told_as_expired_also_after_the_reader_acknowledged_the_loss(
    room: MailStoreHarness,
) -> None:
    user = UserId(uuid4())
    sender, ann, bo = await room.add_mailbox(user), await room.add_mailbox(), await room.add_mailbox()
    message = make_message(ann, bo, sender=sender, lifetime=timedelta(seconds=5))
    await room.post(message)
    (first,) = await room.store.deposit([ann])
    room.clock.advance(seconds=5)
    (second,) = await room.store.deposit([bo])
    await room.upkeep.expire(room.clock.now(), 100)
    await room.acknowledge(ann, 1, first.head)
    await room.acknowledge(bo, 1, second.head)

    fates = await room.upkeep.copy_statuses(user, message.message_id)

    assert [(fate.state, fate.since) for fate in fates or []] == [(CopyState.EXPIRED, room.clock.now())] * 2


async def test_a_loss_is_told_as_expired_before_the_sweeper_comes_and_after_its_reader_acknowledged_it(
    room: MailStoreHarness,
) -> None:
    user = UserId(uuid4())
    sender, ann, bo = await room.add_mailbox(user), await room.add_mailbox(), await room.add_mailbox()
    message = make_message(ann, bo, sender=sender, lifetime=timedelta(seconds=5))
    await room.post(message)
    heads = {each.mailbox: each.head for each in await room.store.deposit([ann, bo])}
    room.clock.advance(seconds=5)
    await room.acknowledge(ann, 1, heads[ann])

    fates = await room.upkeep.copy_statuses(user, message.message_id)

    assert [(fate.state, fate.since) for fate in fates or []] == [(CopyState.EXPIRED, room.clock.now())] * 2
    assert [entry.loss_reason for entry in await room.numbered_entries(bo)] == [LossReason.EXPIRED]


async def test_any_device_of_the_sending_account_may_ask_and_nobody_else(room: MailStoreHarness) -> None:
    user, stranger = UserId(uuid4()), UserId(uuid4())
    await room.add_mailbox(user, 1)
    phone, box = await room.add_mailbox(user, 2), await room.add_mailbox(stranger)
    message = make_message(box, sender=phone)
    await room.post(message)

    fates = await room.upkeep.copy_statuses(user, message.message_id)

    assert [fate.state for fate in fates or []] == [CopyState.ACCEPTED]
    assert await room.upkeep.copy_statuses(stranger, message.message_id) is None
    assert await room.upkeep.copy_statuses(user, MessageId(uuid4())) is None


async def test_a_message_to_nobody_has_no_fates_but_exists(room: MailStoreHarness) -> None:
    user = UserId(uuid4())
    message = make_message(sender=await room.add_mailbox(user))
    await room.post(message)

    assert await room.upkeep.copy_statuses(user, message.message_id) == []


async def test_the_depth_tells_the_age_of_the_oldest_unnumbered_envelope(room: MailStoreHarness) -> None:
    ann, bo = await room.add_mailbox(), await room.add_mailbox()
    empty = await room.upkeep.measure_backlog()
    await room.post(make_message(ann, at=NOON - timedelta(seconds=3)), make_message(bo, at=NOON - timedelta(seconds=9)))
    (_, both), _ = await room.upkeep.measure_backlog(), await room.store.deposit([bo])
    waiting, one = await room.upkeep.measure_backlog()

    assert (empty[1], both, one) == (0.0, 9.0, 3.0)
    assert waiting >= 0


async def test_mail_for_an_ended_mailbox_is_told_as_dropped(room: MailStoreHarness) -> None:
    user = UserId(uuid4())
    sender, box = await room.add_mailbox(user), await room.add_mailbox()
    message = make_message(box, sender=sender)
    await room.post(message)
    await room.registry.end_mailbox(box)

    await room.store.deposit([box])

    fates = await room.upkeep.copy_statuses(user, message.message_id)
    assert [fate.state for fate in fates or []] == [CopyState.DROPPED]
    assert box != MailboxKey(0)


async def test_a_clock_in_doubt_decides_of_no_envelope_that_its_life_is_over(room: MailStoreHarness) -> None:
    ann, bo = await room.add_mailbox(), await room.add_mailbox()
    await room.post(make_message(ann, text=b"waits"), make_message(bo, text=b"waits without a number"))
    await room.store.deposit([ann])
    room.clock.confirmed_time = NOON
    room.clock.advance(days=100)

    await room.store.deposit([bo])
    expired = await room.upkeep.expire(room.clock.confirmed_now(), 100)

    assert expired == 0
    assert contents_of([*await room.numbered_entries(ann), *await room.numbered_entries(bo)]) == [
        b"waits",
        b"waits without a number",
    ]


async def test_what_was_read_while_the_clock_was_in_doubt_is_told_as_read(room: MailStoreHarness) -> None:
    user, box = UserId(uuid4()), await room.add_mailbox()
    sender = await room.add_mailbox(user)
    message = make_message(box, sender=sender, at=NOON + timedelta(days=100))
    room.clock.confirmed_time = NOON
    room.clock.advance(days=100)
    await room.post(message)
    (deposited,) = await room.store.deposit([box])

    await room.acknowledge(box, 1, deposited.head)

    (fate,) = await room.upkeep.copy_statuses(user, message.message_id) or []
    assert fate.state is CopyState.ACKNOWLEDGED
