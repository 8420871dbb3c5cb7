"""What every mail store promises about post: once, all or nothing, in order, guarded."""

import asyncio
from itertools import pairwise
from uuid import uuid4

from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, contents_of, make_message
from vyry.kernel.ids import ConversationId, MailboxKey, UserId
from vyry.mail.envelope import Envelope
from vyry.mail.store import Content, Copy, MailStore, Outdated, Preconditions


async def test_a_post_is_stored_with_its_outcome(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    message = make_message(ann, bo)

    (stored,) = await mail_harness.post(message)

    assert (stored.fingerprint, stored.accepted_at, stored.is_repeat) == (message.fingerprint, NOON, False)
    assert list(stored.mailboxes) == [ann, bo]
    assert len({number for number in stored.numbers if number}) == 2


async def test_outcomes_come_in_the_order_of_the_messages(mail_harness: MailStoreHarness) -> None:
    ann = await mail_harness.add_mailbox()
    known, fresh = make_message(ann, text=b"known"), make_message(ann, text=b"fresh")
    await mail_harness.post(known)

    stored = await mail_harness.post(fresh, known)

    assert [(each.fingerprint, each.is_repeat) for each in stored] == [
        (fresh.fingerprint, False),
        (known.fingerprint, True),
    ]


async def test_an_empty_batch_is_answered_with_nothing(mail_harness: MailStoreHarness) -> None:
    stored = await mail_harness.post()

    assert stored == []


async def test_a_repeated_post_stores_nothing_and_answers_the_first_outcome(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    message = make_message(ann, bo)
    (first,) = await mail_harness.post(message)
    mail_harness.clock.advance(hours=1)

    (second,) = await mail_harness.post(message._replace(accepted_at=mail_harness.clock.now()))

    assert (second.is_repeat, second.accepted_at) == (True, first.accepted_at)
    assert (list(second.mailboxes), list(second.numbers)) == (list(first.mailboxes), list(first.numbers))
    assert len(await mail_harness.store.deposit([ann, bo])) == 2


async def test_another_body_under_a_known_key_is_answered_with_the_stored_fingerprint(
    mail_harness: MailStoreHarness,
) -> None:
    ann = await mail_harness.add_mailbox()
    message = make_message(ann, text=b"one")
    other = make_message(ann, text=b"two")._replace(message_id=message.message_id)
    await mail_harness.post(message)

    (second,) = await mail_harness.post(other)

    assert (second.is_repeat, second.fingerprint) == (True, message.fingerprint)
    await mail_harness.store.deposit([ann])
    assert contents_of(await mail_harness.numbered_entries(ann)) == [b"one"]


async def test_of_two_messages_with_one_key_in_a_batch_the_later_is_a_repeat(mail_harness: MailStoreHarness) -> None:
    ann = await mail_harness.add_mailbox()
    message = make_message(ann, text=b"one")
    other = make_message(ann, text=b"two")._replace(message_id=message.message_id)

    first, second = await mail_harness.post(message, other)

    assert (first.is_repeat, second.is_repeat) == (False, True)
    assert (second.fingerprint, list(second.numbers)) == (message.fingerprint, list(first.numbers))
    await mail_harness.store.deposit([ann])
    assert contents_of(await mail_harness.numbered_entries(ann)) == [b"one"]


async def test_two_senders_may_use_one_message_id(mail_harness: MailStoreHarness) -> None:
    ann = await mail_harness.add_mailbox()
    message = make_message(ann, sender=MailboxKey(1001))

    stored = await mail_harness.post(message, message._replace(sender=MailboxKey(1002)))

    assert [each.is_repeat for each in stored] == [False, False]
    assert len(await mail_harness.store.deposit([ann])) == 2


async def test_one_message_posted_by_many_at_once_is_stored_once(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    ann = await mail_harness.add_mailbox()
    message = make_message(ann)

    answers = await asyncio.gather(
        *(store.post([message], Preconditions()) for store in [mail_harness.store, second_node_store] * 8)
    )

    outcomes = [answer[0] for answer in answers if not isinstance(answer, Outdated)]
    assert sorted(outcome.is_repeat for outcome in outcomes) == [False] + [True] * 15
    assert len({tuple(outcome.numbers) for outcome in outcomes}) == 1
    assert len(await mail_harness.store.deposit([ann])) == 1


async def test_a_post_to_nobody_is_remembered(mail_harness: MailStoreHarness) -> None:
    message = make_message()
    (first,) = await mail_harness.post(message)

    (second,) = await mail_harness.post(message)

    assert (list(first.numbers), first.is_repeat, second.is_repeat) == ([], False, True)


async def test_outcomes_can_be_asked_for(mail_harness: MailStoreHarness) -> None:
    ann, full = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.registry.end_mailbox(full)
    stored, refused, unknown = make_message(ann, full, sender=full), make_message(full), make_message(ann)
    first, _ = await mail_harness.post(stored, refused)

    found = await mail_harness.upkeep.load_outcomes(
        [(each.sender, each.message_id) for each in (stored, refused, unknown)]
    )

    assert list(found) == [(full, stored.message_id)]
    outcome = found[full, stored.message_id]
    assert (outcome.is_repeat, outcome.fingerprint, outcome.accepted_at) == (True, stored.fingerprint, NOON)
    assert (list(outcome.mailboxes), list(outcome.numbers)) == ([ann, full], list(first.numbers))
    assert await mail_harness.upkeep.load_outcomes([]) == {}


async def test_guards_that_hold_let_the_batch_pass(mail_harness: MailStoreHarness) -> None:
    user, conversation = UserId(uuid4()), ConversationId(uuid4())
    ann = await mail_harness.add_mailbox(user)
    await mail_harness.registry.set_epoch(user, 4)
    await mail_harness.registry.add_conversation(conversation, 2)

    (stored,) = await mail_harness.post(make_message(ann), guards=Preconditions({user: 4}, {conversation: 2}))

    assert not stored.is_repeat


async def test_guards_that_do_not_hold_are_named_and_nothing_is_stored(mail_harness: MailStoreHarness) -> None:
    stale, current, unknown = UserId(uuid4()), UserId(uuid4()), UserId(uuid4())
    changed, missing = ConversationId(uuid4()), ConversationId(uuid4())
    ann = await mail_harness.add_mailbox(stale)
    await mail_harness.add_mailbox(current)
    await mail_harness.registry.set_epoch(stale, 5)
    await mail_harness.registry.add_conversation(changed, 3)
    message = make_message(ann)

    answer = await mail_harness.store.post(
        [message], Preconditions({stale: 4, current: 1, unknown: 1}, {changed: 2, missing: 1})
    )

    assert answer == Outdated(frozenset({stale, unknown}), frozenset({changed, missing}))
    assert await mail_harness.store.deposit([ann]) == []
    (stored,) = await mail_harness.post(message)
    assert not stored.is_repeat


async def test_one_outdated_guard_holds_back_the_whole_batch(mail_harness: MailStoreHarness) -> None:
    user = UserId(uuid4())
    ann, bo = await mail_harness.add_mailbox(user), await mail_harness.add_mailbox()

    answer = await mail_harness.store.post([make_message(bo), make_message(ann)], Preconditions({user: 9}))

    assert isinstance(answer, Outdated)
    assert await mail_harness.store.deposit([ann, bo]) == []


async def test_envelope_numbers_rise_from_post_to_post_on_whatever_node(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()

    answers = [
        await store.post([make_message(ann, bo), make_message(bo)], Preconditions())
        for store in [mail_harness.store, second_node_store] * 4
    ]

    numbers = [
        {number for stored in answer for number in stored.numbers if number}
        for answer in answers
        if not isinstance(answer, Outdated)
    ]
    assert all(max(before) < min(after) for before, after in pairwise(numbers))
    assert [len(each) for each in numbers] == [3] * 8


async def test_numbers_within_a_batch_rise_in_its_order(mail_harness: MailStoreHarness) -> None:
    ann = await mail_harness.add_mailbox()

    stored = await mail_harness.post(*(make_message(ann) for _ in range(20)))

    numbers = [each.numbers[0] or 0 for each in stored]
    assert numbers == sorted(numbers)


async def test_a_number_is_not_given_again_after_its_envelope_is_gone(mail_harness: MailStoreHarness) -> None:
    ann = await mail_harness.add_mailbox()
    (first,) = await mail_harness.post_and_deposit(ann, b"one")
    await mail_harness.acknowledge(ann, first.seq, first.head)

    (second,) = await mail_harness.post_and_deposit(ann, b"two")

    assert second.number > first.number


async def test_a_group_message_reaches_all_its_devices(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(30)]
    await mail_harness.post(make_message(*boxes, text=b"to all"))

    await mail_harness.store.deposit(boxes)

    assert [contents_of(await mail_harness.numbered_entries(box)) for box in boxes] == [[b"to all"]] * 30
    assert await mail_harness.registry.count_contents() == 1


async def test_copies_may_have_contents_of_their_own(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    message = make_message(ann, bo)
    pages = [Envelope(uuid4(), 1, message.message_id, uuid4(), 1, 2, 0, 3, text) for text in (b"for ann", b"for bo")]
    contents = [Content(page.pack(), page.digest(), len(page.content), 1) for page in pages]
    await mail_harness.post(message._replace(contents=contents, copies=[Copy(bo, 1), Copy(ann, 0)]))

    await mail_harness.store.deposit([ann, bo])

    assert (
        contents_of(await mail_harness.numbered_entries(ann)),
        contents_of(await mail_harness.numbered_entries(bo)),
    ) == (
        [b"for ann"],
        [b"for bo"],
    )


async def test_a_copy_for_an_ended_or_unknown_mailbox_is_skipped(mail_harness: MailStoreHarness) -> None:
    ann, bo = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.registry.end_mailbox(bo)

    (stored,) = await mail_harness.post(make_message(ann, bo, MailboxKey(987_654)))

    assert [number is None for number in stored.numbers] == [False, True, True]
    assert len(await mail_harness.store.deposit([ann, bo])) == 1


async def test_a_message_whose_copies_are_all_skipped_is_not_stored(mail_harness: MailStoreHarness) -> None:
    ann = await mail_harness.add_mailbox()
    await mail_harness.registry.end_mailbox(ann)
    message = make_message(ann)
    (first,) = await mail_harness.post(message)

    (second,) = await mail_harness.post(message)

    assert (list(first.numbers), first.is_repeat) == ([None], False)
    assert (list(second.numbers), second.is_repeat) == ([None], False)
    assert await mail_harness.registry.count_contents() == 0
