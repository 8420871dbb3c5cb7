"""What every mail store promises to the sweeper, the metrics and a curious sender."""

from datetime import timedelta
from uuid import uuid4

from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, contents_of, make_message
from vyry.kernel.ids import DeviceAddress, DeviceId, MailboxKey, MessageId, UserId
from vyry.mail.envelope import LossReason
from vyry.mail.store import CopyState, CopyStatus


async def test_mailboxes_with_old_unnumbered_mail_are_told_oldest_first(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(4)]
    for box, seconds in zip(boxes, (3, 1, 2, 9), strict=True):
        await mail_harness.post(
            make_message(box, at=NOON + timedelta(seconds=seconds)), make_message(box, at=NOON + timedelta(seconds=9))
        )

    found = await mail_harness.upkeep.find_unnumbered(NOON + timedelta(seconds=9), 100)

    assert found == [boxes[1], boxes[2], boxes[0]]


async def test_no_more_unnumbered_mailboxes_are_told_than_asked_for(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(4)]
    for seconds, box in enumerate(boxes):
        await mail_harness.post(make_message(box, at=NOON + timedelta(seconds=seconds)))

    found = await mail_harness.upkeep.find_unnumbered(NOON + timedelta(hours=1), 2)

    assert found == boxes[:2]


async def test_numbered_mail_is_not_told_as_unnumbered(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(ann, bo))
    await mail_harness.store.deposit([ann])

    assert await mail_harness.upkeep.find_unnumbered(NOON + timedelta(hours=1), 100) == [bo]


async def test_of_some_mailboxes_those_with_old_unnumbered_mail_are_selected(mail_harness: MailStoreHarness) -> None:
    late, later, numbered, other, empty = [await mail_harness.add_mailbox() for _ in range(5)]
    await mail_harness.post(make_message(late, numbered, other), make_message(late))
    await mail_harness.post(make_message(later, at=NOON + timedelta(seconds=9)))
    await mail_harness.store.deposit([numbered])

    asked = [late, later, numbered, empty]
    found = await mail_harness.upkeep.find_unnumbered(NOON + timedelta(seconds=9), 100, among=asked)

    assert found == [late]


async def test_numbered_envelopes_past_their_expiry_become_losses(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(make_message(box, lifetime=timedelta(seconds=5)), make_message(box, text=b"fresh"))
    deposited = await mail_harness.store.deposit([box])
    early = await mail_harness.upkeep.expire(NOON + timedelta(seconds=4), 100)
    mail_harness.clock.advance(seconds=5)

    expired = await mail_harness.upkeep.expire(mail_harness.clock.now(), 100)

    assert (early, expired, await mail_harness.upkeep.expire(mail_harness.clock.now(), 100)) == (0, 1, 0)
    entries = await mail_harness.numbered_entries(box)
    assert [(each.seq, each.head, each.loss_reason) for each in entries] == [
        (1, deposited[0].head, LossReason.EXPIRED),
        (2, deposited[1].head, None),
    ]
    assert contents_of(entries) == [None, b"fresh"]
    assert await mail_harness.registry.count_contents() == 1


async def test_no_more_is_expired_at_once_than_asked_for(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(*(make_message(ann, bo, lifetime=timedelta(seconds=1)) for _ in range(3)))
    await mail_harness.store.deposit([ann, bo])
    mail_harness.clock.advance(seconds=1)

    counts = [await mail_harness.upkeep.expire(mail_harness.clock.now(), 4) for _ in range(3)]

    assert counts == [4, 2, 0]
    assert await mail_harness.registry.count_contents() == 0


async def test_unnumbered_mail_is_left_to_the_deposit_when_it_expires(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(make_message(box, lifetime=timedelta(seconds=1)))
    mail_harness.clock.advance(seconds=1)

    expired = await mail_harness.upkeep.expire(mail_harness.clock.now(), 100)

    assert expired == 0
    assert [each.loss_reason for each in await mail_harness.store.deposit([box])] == [LossReason.EXPIRED]


async def test_parked_entries_do_not_expire(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(make_message(box, lifetime=timedelta(seconds=1)))
    await mail_harness.store.deposit([box])
    await mail_harness.store.discard(box, 1)
    mail_harness.clock.advance(seconds=1)

    assert await mail_harness.upkeep.expire(mail_harness.clock.now(), 100) == 0
    assert [entry.loss_reason for entry in await mail_harness.numbered_entries(box)] == [LossReason.PARKED]


async def test_retired_outcomes_and_fates_are_forgotten(mail_harness: MailStoreHarness) -> None:
    user = UserId(uuid4())
    sender, box = await mail_harness.add_mailbox(user), await mail_harness.add_mailbox()
    old, young = make_message(box, sender=sender), make_message(box, sender=sender, at=NOON + timedelta(days=2))
    await mail_harness.post(old)
    (first,) = await mail_harness.store.deposit([box])
    await mail_harness.acknowledge(box, 1, first.head)
    mail_harness.clock.advance(days=2)
    await mail_harness.post(young)

    gone = await mail_harness.upkeep.delete_old_outcomes(NOON + timedelta(days=1), 100)

    assert (gone, await mail_harness.upkeep.delete_old_outcomes(NOON + timedelta(days=1), 100)) == (2, 0)
    assert await mail_harness.upkeep.copy_statuses(user, old.message_id) is None
    assert await mail_harness.upkeep.copy_statuses(user, young.message_id) is not None


async def test_retiring_takes_no_more_than_asked_for(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    for n in range(5):
        (entry,) = await mail_harness.post_and_deposit(box, b"x")
        await mail_harness.acknowledge(box, n + 1, entry.head)

    counts = [await mail_harness.upkeep.delete_old_outcomes(NOON + timedelta(days=1), 4) for _ in range(6)]

    assert (sum(counts), max(counts), counts[-1]) == (10, 4, 0)


async def test_the_sender_sees_what_became_of_each_copy(mail_harness: MailStoreHarness) -> None:
    user, readers = UserId(uuid4()), [UserId(uuid4()) for _ in range(5)]
    sender = await mail_harness.add_mailbox(user)
    waiting, here, read, parked, ended = boxes = [
        await mail_harness.add_mailbox(reader, n) for n, reader in enumerate(readers, 1)
    ]
    message = make_message(*boxes, sender=sender)
    await mail_harness.registry.end_mailbox(ended)
    await mail_harness.post(message)
    heads = {each.mailbox: each.head for each in await mail_harness.store.deposit([here, read, parked])}
    mail_harness.clock.advance(minutes=1)
    later = mail_harness.clock.now()
    await mail_harness.acknowledge(read, 1, heads[read])
    await mail_harness.store.discard(parked, 1)

    fates = await mail_harness.upkeep.copy_statuses(user, message.message_id)

    states = (CopyState.ACCEPTED, CopyState.DEPOSITED, CopyState.ACKNOWLEDGED, CopyState.DROPPED, CopyState.DROPPED)
    assert fates == [
        CopyStatus(DeviceAddress(readers[n], DeviceId(n + 1)), state, at, NOON, message.conversation_id)
        for n, (state, at) in enumerate(zip(states, (NOON, NOON, later, later, NOON), strict=True))
    ]
    assert waiting in boxes


async def test_expired_copies_are_told_as_expired_also_after_the_reader_acknowledged_the_loss(
    mail_harness: MailStoreHarness,
) -> None:
    user = UserId(uuid4())
    sender, ann, bo = (
        await mail_harness.add_mailbox(user),
        await mail_harness.add_mailbox(),
        await mail_harness.add_mailbox(),
    )
    message = make_message(ann, bo, sender=sender, lifetime=timedelta(seconds=5))
    await mail_harness.post(message)
    (first,) = await mail_harness.store.deposit([ann])
    mail_harness.clock.advance(seconds=5)
    (second,) = await mail_harness.store.deposit([bo])
    await mail_harness.upkeep.expire(mail_harness.clock.now(), 100)
    await mail_harness.acknowledge(ann, 1, first.head)
    await mail_harness.acknowledge(bo, 1, second.head)

    fates = await mail_harness.upkeep.copy_statuses(user, message.message_id)

    assert [(fate.state, fate.since) for fate in fates or []] == [(CopyState.EXPIRED, mail_harness.clock.now())] * 2


async def test_a_loss_is_told_as_expired_before_the_sweeper_comes_and_after_its_reader_acknowledged_it(
    mail_harness: MailStoreHarness,
) -> None:
    user = UserId(uuid4())
    sender, ann, bo = (
        await mail_harness.add_mailbox(user),
        await mail_harness.add_mailbox(),
        await mail_harness.add_mailbox(),
    )
    message = make_message(ann, bo, sender=sender, lifetime=timedelta(seconds=5))
    await mail_harness.post(message)
    heads = {each.mailbox: each.head for each in await mail_harness.store.deposit([ann, bo])}
    mail_harness.clock.advance(seconds=5)
    await mail_harness.acknowledge(ann, 1, heads[ann])

    fates = await mail_harness.upkeep.copy_statuses(user, message.message_id)

    assert [(fate.state, fate.since) for fate in fates or []] == [(CopyState.EXPIRED, mail_harness.clock.now())] * 2
    assert [entry.loss_reason for entry in await mail_harness.numbered_entries(bo)] == [LossReason.EXPIRED]


async def test_any_device_of_the_sending_account_may_ask_and_nobody_else(mail_harness: MailStoreHarness) -> None:
    user, stranger = UserId(uuid4()), UserId(uuid4())
    await mail_harness.add_mailbox(user, 1)
    phone, box = await mail_harness.add_mailbox(user, 2), await mail_harness.add_mailbox(stranger)
    message = make_message(box, sender=phone)
    await mail_harness.post(message)

    fates = await mail_harness.upkeep.copy_statuses(user, message.message_id)

    assert [fate.state for fate in fates or []] == [CopyState.ACCEPTED]
    assert await mail_harness.upkeep.copy_statuses(stranger, message.message_id) is None
    assert await mail_harness.upkeep.copy_statuses(user, MessageId(uuid4())) is None


async def test_a_message_to_nobody_has_no_fates_but_exists(mail_harness: MailStoreHarness) -> None:
    user = UserId(uuid4())
    message = make_message(sender=await mail_harness.add_mailbox(user))
    await mail_harness.post(message)

    assert await mail_harness.upkeep.copy_statuses(user, message.message_id) == []


async def test_the_depth_tells_the_age_of_the_oldest_unnumbered_envelope(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    empty = await mail_harness.upkeep.measure_backlog()
    await mail_harness.post(
        make_message(ann, at=NOON - timedelta(seconds=3)), make_message(bo, at=NOON - timedelta(seconds=9))
    )
    (_, both), _ = await mail_harness.upkeep.measure_backlog(), await mail_harness.store.deposit([bo])
    waiting, one = await mail_harness.upkeep.measure_backlog()

    assert (empty[1], both, one) == (0.0, 9.0, 3.0)
    assert waiting >= 0


async def test_mail_for_an_ended_mailbox_is_told_as_dropped(mail_harness: MailStoreHarness) -> None:
    user = UserId(uuid4())
    sender, box = await mail_harness.add_mailbox(user), await mail_harness.add_mailbox()
    message = make_message(box, sender=sender)
    await mail_harness.post(message)
    await mail_harness.registry.end_mailbox(box)

    await mail_harness.store.deposit([box])

    fates = await mail_harness.upkeep.copy_statuses(user, message.message_id)
    assert [fate.state for fate in fates or []] == [CopyState.DROPPED]
    assert box != MailboxKey(0)


async def test_a_clock_in_doubt_decides_of_no_envelope_that_its_life_is_over(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(ann, text=b"waits"), make_message(bo, text=b"waits without a number"))
    await mail_harness.store.deposit([ann])
    mail_harness.clock.confirmed_time = NOON
    mail_harness.clock.advance(days=100)

    await mail_harness.store.deposit([bo])
    expired = await mail_harness.upkeep.expire(mail_harness.clock.confirmed_now(), 100)

    assert expired == 0
    assert contents_of([*await mail_harness.numbered_entries(ann), *await mail_harness.numbered_entries(bo)]) == [
        b"waits",
        b"waits without a number",
    ]


async def test_what_was_read_while_the_clock_was_in_doubt_is_told_as_read(mail_harness: MailStoreHarness) -> None:
    user, box = UserId(uuid4()), await mail_harness.add_mailbox()
    sender = await mail_harness.add_mailbox(user)
    message = make_message(box, sender=sender, at=NOON + timedelta(days=100))
    mail_harness.clock.confirmed_time = NOON
    mail_harness.clock.advance(days=100)
    await mail_harness.post(message)
    (deposited,) = await mail_harness.store.deposit([box])

    await mail_harness.acknowledge(box, 1, deposited.head)

    (fate,) = await mail_harness.upkeep.copy_statuses(user, message.message_id) or []
    assert fate.state is CopyState.ACKNOWLEDGED
