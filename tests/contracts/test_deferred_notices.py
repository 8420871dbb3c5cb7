"""What becomes of a notice for which a mailbox has no room: it waits, the newest of its subject for all, until the device makes some."""

import asyncio
from datetime import timedelta
from itertools import count

import pytest

from tests.contracts.test_notices import Person, notices, notices_in, sign_up_with_conversations
from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, make_message
from vyry.devices.keyset import HighestIds
from vyry.kernel.ids import MessageId, new_id
from vyry.mail.deferred_notices import DeferredNotice
from vyry.mail.envelope import Lane
from vyry.mail.store import MailboxCaps
from vyry.storage.conversation_models import DeferredNoticeRow, NoticeRow
from vyry.storage.database import transaction
from vyry.storage.deferred_notices import TortoiseDeferredNotices, defer_notices
from vyry.storage.devices import end_devices
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice


_MOMENTS = count()


@pytest.fixture(params=["sqlite", "postgres"])
def mail_url(request: pytest.FixtureRequest) -> str:
    """As the outbox: memory has none."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def caps() -> MailboxCaps:
    return MailboxCaps(notice_entries=2)


async def post_notice(person: Person, **body: object) -> None:
    """News for the account, each a millisecond after the one before: of the same moment any may come first."""
    async with transaction() as tx:
        await enqueue_notice(
            tx, NewNotice(person.user_id, Audience.OWN, body, NOON + timedelta(milliseconds=next(_MOMENTS)))
        )


async def add_full_mailbox(mail_harness: MailStoreHarness) -> Person:
    """Somebody whose mailbox has no room for notices."""
    (ann,) = await sign_up_with_conversations("a")
    await mail_harness.post(*(make_message(ann.mailbox, text=b"{}", lane=Lane.NOTICE) for _ in range(2)))
    await mail_harness.store.deposit([ann.mailbox])
    return ann


async def read(mail_harness: MailStoreHarness, person: Person) -> list[dict[str, object]]:
    """Read and acknowledge everything, and have the node look what waits."""
    found = await notices_in(mail_harness, person.mailbox)
    last = (await mail_harness.numbered_entries(person.mailbox))[-1]
    await mail_harness.acknowledge(person.mailbox, last.seq, last.head)
    await notices(mail_harness).post_pending()
    return found


async def test_a_notice_without_room_waits_until_the_device_makes_some(mail_harness: MailStoreHarness) -> None:
    ann = await add_full_mailbox(mail_harness)

    await post_notice(ann, name="registrationAttempted")
    for _ in range(3):
        await notices(mail_harness).post_pending()
    before = await read(mail_harness, ann)

    assert before == [{}, {}]
    assert await notices_in(mail_harness, ann.mailbox) == [{"name": "registrationAttempted"}]
    assert await DeferredNoticeRow.all().count() == 0


async def test_of_one_subject_the_newest_stands_for_all(mail_harness: MailStoreHarness) -> None:
    ann = await add_full_mailbox(mail_harness)

    for left in (9, 8, 7):
        await post_notice(ann, name="pinFailed", attemptsRemaining=left)
        await notices(mail_harness).post_pending()
    await post_notice(ann, name="pinChanged", change="removed")
    await notices(mail_harness).post_pending()

    assert await DeferredNoticeRow.all().count() == 2
    await read(mail_harness, ann)
    assert await notices_in(mail_harness, ann.mailbox) == [
        {"name": "pinFailed", "attemptsRemaining": 7},
        {"name": "pinChanged", "change": "removed"},
    ]


async def test_that_the_identity_changed_is_not_hidden_by_a_later_change(mail_harness: MailStoreHarness) -> None:
    ann = await add_full_mailbox(mail_harness)
    other = str(new_id())

    for epoch, changed in ((2, True), (3, False), (4, False)):
        await post_notice(ann, name="devicesChanged", userId=other, epoch=epoch, identityChanged=changed)
    await notices(mail_harness).post_pending()

    bodies = [row.body for row in await DeferredNoticeRow.all().order_by("id")]
    assert sorted((body["epoch"], body["identityChanged"]) for body in bodies) == [(2, True), (4, False)]


async def test_a_hint_about_keys_waits_for_room_too(mail_harness: MailStoreHarness) -> None:
    ann = await add_full_mailbox(mail_harness)

    for left in (19, 3):
        await notices(mail_harness).prekeys_low({ann.mailbox: HighestIds(left, 100)})
    await read(mail_harness, ann)

    assert await notices_in(mail_harness, ann.mailbox) == [
        {"name": "prekeysLow", "oneTimeRemaining": 3, "pqRemaining": 100}
    ]


async def test_whoever_has_room_is_told_at_once(mail_harness: MailStoreHarness) -> None:
    ann = await add_full_mailbox(mail_harness)
    phone = await mail_harness.add_mailbox(ann.user_id, 2)

    await post_notice(ann, name="registrationAttempted")
    await notices(mail_harness).post_pending()

    assert await notices_in(mail_harness, phone) == [{"name": "registrationAttempted"}]
    assert [row.mailbox for row in await DeferredNoticeRow.all()] == [ann.mailbox]


async def test_mailboxes_take_turns_at_having_theirs_tried(mail_harness: MailStoreHarness) -> None:
    ann, bo = await sign_up_with_conversations("a", "b")
    of_ann = [DeferredNotice(MessageId(new_id()), ann.mailbox, {"name": "callMissed", "userId": n}) for n in range(3)]
    async with transaction() as tx:
        await defer_notices(tx, of_ann)
        await defer_notices(tx, [DeferredNotice(MessageId(new_id()), bo.mailbox, {"name": "registrationAttempted"})])

    claimed = await TortoiseDeferredNotices().claim(NOON, 2)

    assert {each.mailbox for each in claimed} == {ann.mailbox, bo.mailbox}


async def test_a_mailbox_emptied_while_its_notice_was_put_aside_gets_it_all_the_same(
    mail_harness: MailStoreHarness,
) -> None:
    ann = await add_full_mailbox(mail_harness)
    notice = DeferredNotice(MessageId(new_id()), ann.mailbox, {"name": "registrationAttempted"})
    await read(mail_harness, ann)

    async with transaction() as tx:
        await defer_notices(tx, [notice])
    await notices(mail_harness).post_pending()

    assert await notices_in(mail_harness, ann.mailbox) == [{"name": "registrationAttempted"}]


async def test_what_is_made_room_for_while_it_is_tried_is_tried_again(mail_harness: MailStoreHarness) -> None:
    ann = await add_full_mailbox(mail_harness)
    await post_notice(ann, name="registrationAttempted")
    await notices(mail_harness).post_pending()
    held = TortoiseDeferredNotices()
    claimed = await held.claim(mail_harness.clock.now(), 10)
    entries = await mail_harness.numbered_entries(ann.mailbox)
    await mail_harness.acknowledge(ann.mailbox, entries[-1].seq, entries[-1].head)

    await held.record_outcomes([], claimed)
    await notices(mail_harness).post_pending()

    assert await notices_in(mail_harness, ann.mailbox) == [{"name": "registrationAttempted"}]


async def test_who_dies_with_claimed_notices_loses_none(mail_harness: MailStoreHarness) -> None:
    ann = await add_full_mailbox(mail_harness)
    await post_notice(ann, name="registrationAttempted")
    await notices(mail_harness).post_pending()
    await TortoiseDeferredNotices().claim(mail_harness.clock.now(), 10)
    await read(mail_harness, ann)

    mail_harness.clock.advance(minutes=1)
    await asyncio.gather(*(notices(mail_harness).post_pending() for _ in range(3)))

    assert await notices_in(mail_harness, ann.mailbox) == [{"name": "registrationAttempted"}]


async def test_a_crash_before_the_outbox_forgot_it_holds_it_once(mail_harness: MailStoreHarness) -> None:
    ann = await add_full_mailbox(mail_harness)
    await post_notice(ann, name="registrationAttempted")
    row = await NoticeRow.get()
    await notices(mail_harness).post_pending()

    _ = await NoticeRow.create(id=row.id, account_id=row.account_id, audience=row.audience, body=row.body, at=row.at)
    await notices(mail_harness).post_pending()
    await read(mail_harness, ann)
    await notices(mail_harness).post_pending()

    assert await notices_in(mail_harness, ann.mailbox) == [{"name": "registrationAttempted"}]


async def test_nothing_waits_for_a_device_that_has_ended(mail_harness: MailStoreHarness) -> None:
    ann = await add_full_mailbox(mail_harness)
    await post_notice(ann, name="registrationAttempted")
    await notices(mail_harness).post_pending()
    late = DeferredNotice(MessageId(new_id()), ann.mailbox, {"name": "pinChanged"})

    async with transaction() as tx:
        await end_devices(tx, ann.user_id, [ann.device], NOON)
        await defer_notices(tx, [late])
    await notices(mail_harness).post_pending()

    assert await DeferredNoticeRow.all().count() == 0
