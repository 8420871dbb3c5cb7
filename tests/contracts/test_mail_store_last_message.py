"""What every mail store promises about the last message of a device: the newest that was accepted, by order of acceptance and no clock."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, make_message, open_mailbox
from vyry.kernel.ids import MailboxKey, MessageId, UserId
from vyry.mail.envelope import Lane
from vyry.mail.store import MailboxCaps, MailStore, Preconditions


@pytest.fixture
def caps() -> MailboxCaps:
    return MailboxCaps(mail_entries=2)


async def last(store: MailStore, mailbox: MailboxKey) -> MessageId | None:
    """What a device with this mailbox is told at hello, and likewise by REST."""
    resume = await open_mailbox(store, mailbox, 0, None)
    assert await store.upkeep.load_resume_info(mailbox) == resume
    return resume.last_message_id


async def test_a_device_that_never_posted_has_no_last_message(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(ann, sender=bo))

    assert await last(mail_harness.store, ann) is None


async def test_each_answered_post_is_the_last_one_on_every_node(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    ann, stores = await mail_harness.add_mailbox(), (mail_harness.store, second_node_store)

    for n in range(6):
        message = make_message(sender=ann, lane=Lane.CONTROL if n % 3 else Lane.MAIL)
        await stores[n % 2].post([message], Preconditions())

        assert [await last(store, ann) for store in stores] == [message.message_id] * 2


async def test_of_a_batch_the_last_one_counts_and_others_messages_do_not(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    first, second, third = make_message(bo, sender=ann), make_message(ann, sender=bo), make_message(bo, sender=ann)

    await mail_harness.post(first, second, third, make_message(ann))

    assert (await last(mail_harness.store, ann), await last(mail_harness.store, bo)) == (
        third.message_id,
        second.message_id,
    )


async def test_a_node_whose_clock_is_ahead_changes_nothing(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    newer = make_message(bo, sender=ann)

    await mail_harness.post(make_message(bo, sender=ann, at=NOON + timedelta(hours=1)))
    await second_node_store.post([newer], Preconditions())

    assert await last(mail_harness.store, ann) == newer.message_id


async def test_a_repeat_is_no_new_message(mail_harness: MailStoreHarness, second_node_store: MailStore) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    first, second = make_message(bo, sender=ann), make_message(bo, sender=ann)

    await mail_harness.post(first, second)
    await second_node_store.post([first], Preconditions())

    assert await last(mail_harness.store, ann) == second.message_id


async def test_what_was_not_stored_was_not_accepted(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    accepted = make_message(bo, sender=ann)
    await mail_harness.post(accepted, make_message(bo))
    await mail_harness.store.deposit([bo])

    (refused,) = await mail_harness.post(make_message(bo, sender=ann))

    assert not any(refused.numbers)
    assert await last(mail_harness.store, ann) == accepted.message_id


async def test_a_partly_skipped_message_was_accepted(mail_harness: MailStoreHarness) -> None:
    ann, full, free = (
        await mail_harness.add_mailbox(),
        await mail_harness.add_mailbox(),
        await mail_harness.add_mailbox(),
    )
    await mail_harness.post_and_deposit(full, b"1", b"2")
    message = make_message(free, full, sender=ann)

    await mail_harness.post(message)

    assert await last(mail_harness.store, ann) == message.message_id


async def test_a_device_number_given_again_tells_nothing_of_the_former_device(mail_harness: MailStoreHarness) -> None:
    user = UserId(uuid4())
    former = await mail_harness.add_mailbox(user, 1)
    await mail_harness.post(make_message(sender=former))
    await mail_harness.registry.end_mailbox(former)

    again = await mail_harness.add_mailbox(user, 2)

    assert await last(mail_harness.store, again) is None


async def test_a_retired_message_is_forgotten_and_a_new_one_counts_again(mail_harness: MailStoreHarness) -> None:
    ann = await mail_harness.add_mailbox()
    await mail_harness.post(make_message(sender=ann), make_message(sender=ann))
    await mail_harness.upkeep.delete_old_outcomes(NOON + timedelta(days=31), 10)
    forgotten, newer = await last(mail_harness.store, ann), make_message(sender=ann)

    await mail_harness.post(newer)

    assert (forgotten, await last(mail_harness.store, ann)) == (None, newer.message_id)


async def test_an_unknown_mailbox_is_not_found(mail_harness: MailStoreHarness) -> None:
    assert await mail_harness.store.upkeep.load_resume_info(MailboxKey(987_654)) is None


async def test_posts_on_two_nodes_at_once_never_hide_an_answered_one(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    ann = await mail_harness.add_mailbox()
    answered: set[MessageId] = set()

    async def post_and_look(store: MailStore) -> None:
        for _ in range(15):
            before, messages = set(answered), [make_message(sender=ann) for _ in range(3)]
            await store.post(messages, Preconditions())
            answered.update(each.message_id for each in messages)
            resume = await store.upkeep.load_resume_info(ann)
            assert resume is not None
            assert resume.last_message_id not in before | {each.message_id for each in messages[:2]}

    async with asyncio.timeout(30):
        await asyncio.gather(*(post_and_look(store) for store in (mail_harness.store, second_node_store) * 2))
