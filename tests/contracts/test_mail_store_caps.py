"""What every mail store promises about caps: each lane its own, tombstones not counted, room again after acknowledging."""

from datetime import timedelta
from hashlib import sha256

import pytest

from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, contents_of, expected_heads, make_message
from vyry.accounts.events import OperatorAction
from vyry.mail.envelope import Lane, LossReason
from vyry.mail.store import DropRequest, MailboxCaps


@pytest.fixture
def caps() -> MailboxCaps:
    return MailboxCaps(mail_entries=3, mail_bytes=100, control_entries=2, control_bytes=50)


async def test_a_copy_for_a_full_mailbox_is_skipped(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(ann, b"1", b"2", b"3")

    (stored,) = await mail_harness.post(make_message(ann, bo, text=b"4"))

    assert [number is None for number in stored.numbers] == [True, False]
    await mail_harness.store.deposit([ann, bo])
    assert (
        contents_of(await mail_harness.numbered_entries(ann)),
        contents_of(await mail_harness.numbered_entries(bo)),
    ) == (
        [b"1", b"2", b"3"],
        [b"4"],
    )


async def test_a_mailbox_has_capacity_again_after_the_operator_dropped_an_entry(mail_harness: MailStoreHarness) -> None:
    ann = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(ann, b"1", b"2", b"3")

    await mail_harness.upkeep.drop(DropRequest(ann, 2, 2), OperatorAction(NOON, "olga", "mailboxDrop", "full"))

    assert [each.loss_reason for each in await mail_harness.post_and_deposit(ann, b"4")] == [None]
    (full,) = await mail_harness.post(make_message(ann, text=b"5"))
    assert list(full.numbers) == [None]


async def test_what_was_skipped_is_skipped_in_a_repeat_too(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    entries = await mail_harness.post_and_deposit(ann, b"1", b"2", b"3")
    message = make_message(ann, bo)
    (first,) = await mail_harness.post(message)
    await mail_harness.acknowledge(ann, 3, entries[2].head)

    (second,) = await mail_harness.post(message)

    assert (second.is_repeat, list(second.numbers)) == (True, list(first.numbers))
    assert await mail_harness.store.deposit([ann]) == []


async def test_a_message_that_fits_nowhere_keeps_its_key_free(mail_harness: MailStoreHarness) -> None:
    ann = await mail_harness.add_mailbox()
    entries = await mail_harness.post_and_deposit(ann, b"1", b"2", b"3")
    message = make_message(ann, text=b"4")
    (full,) = await mail_harness.post(message)
    await mail_harness.acknowledge(ann, 3, entries[2].head)

    (stored,) = await mail_harness.post(message)

    assert (list(full.numbers), full.is_repeat, stored.is_repeat) == ([None], False, False)
    await mail_harness.store.deposit([ann])
    assert contents_of(await mail_harness.numbered_entries(ann)) == [b"4"]


async def test_what_is_over_the_cap_at_deposit_becomes_a_loss_of_the_cap_digest(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    messages = [make_message(box, text=b"%d" % n) for n in range(5)]
    await mail_harness.post(*messages)

    deposited = await mail_harness.store.deposit([box])

    assert [each.loss_reason for each in deposited] == [None, None, None, LossReason.CAP, LossReason.CAP]
    digests = [message.contents[0].digest for message in messages[:3]] + [sha256(b"tombstone cap").digest()] * 2
    entries = await mail_harness.numbered_entries(box)
    assert [entry.head for entry in entries] == expected_heads(mail_harness.mailbox_ids[box], digests)
    assert contents_of(entries) == [b"0", b"1", b"2", None, None]
    assert await mail_harness.registry.count_contents() == 3


async def test_bytes_are_capped_as_well_as_entries(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(
        make_message(box, text=b"a" * 60), make_message(box, text=b"b" * 41), make_message(box, text=b"c" * 40)
    )

    deposited = await mail_harness.store.deposit([box])

    assert [each.loss_reason for each in deposited] == [None, LossReason.CAP, None]
    (stored,) = await mail_harness.post(make_message(box, text=b"d"))
    assert list(stored.numbers) == [None]


async def test_each_lane_has_its_own_caps(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"1", b"2", b"3")

    control = await mail_harness.post(*(make_message(box, text=b"c", lane=Lane.CONTROL) for _ in range(3)))

    assert [each.numbers[0] is None for each in control] == [False] * 3
    deposited = await mail_harness.store.deposit([box])
    assert [each.loss_reason for each in deposited] == [None, None, LossReason.CAP]
    (mail,), (more,) = (
        await mail_harness.post(make_message(box)),
        await mail_harness.post(make_message(box, lane=Lane.CONTROL)),
    )
    assert (list(mail.numbers), list(more.numbers)) == ([None], [None])


async def test_acknowledging_makes_room(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    entries = await mail_harness.post_and_deposit(box, b"a" * 50, b"b" * 50)
    await mail_harness.acknowledge(box, 1, entries[0].head)

    deposited = await mail_harness.post_and_deposit(box, b"c" * 50)

    assert [each.loss_reason for each in deposited] == [None]


async def test_losses_take_no_room(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(*(make_message(box, lifetime=timedelta(seconds=1)) for _ in range(4)))
    await mail_harness.post_and_deposit(box, b"2")
    mail_harness.clock.advance(seconds=1)
    await mail_harness.upkeep.expire(mail_harness.clock.now(), 100)
    await mail_harness.store.discard(box, 5)

    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3", b"4")

    assert [each.loss_reason for each in deposited] == [None, None, None, LossReason.CAP]


async def test_acknowledging_losses_makes_no_room_twice(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"1", b"2", b"3")
    await mail_harness.store.discard(box, 1)
    await mail_harness.store.discard(box, 1)
    entries = await mail_harness.numbered_entries(box)
    await mail_harness.acknowledge(box, 2, entries[1].head)

    deposited = await mail_harness.post_and_deposit(box, b"4", b"5", b"6")

    assert [each.loss_reason for each in deposited] == [None, None, LossReason.CAP]
