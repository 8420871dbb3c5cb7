"""What the outbox of notices promises: who is told, and that a crash at any point tells nobody twice and forgets nobody."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson
import pytest

from tests.support.account_harness import new_device, stored_number
from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, contents_of
from vyry.accounts.account import EndedDevice, SignupResult
from vyry.in_process.routing import InProcessNotifier, InProcessWorkTopic
from vyry.kernel.ids import MailboxKey, UserId
from vyry.kernel.sizes import MAX_COPIES
from vyry.mail.depositing import Depositor
from vyry.mail.notices import NoticePoster
from vyry.mail.routing import NodeSockets, NoSockets, Router
from vyry.mail.store import Deposited
from vyry.storage.accounts import TortoiseAccounts
from vyry.storage.conversation_models import NoticeRow
from vyry.storage.conversations import TortoiseConversations
from vyry.storage.database import transaction
from vyry.storage.deferred_notices import TortoiseDeferredNotices
from vyry.storage.devices import end_devices
from vyry.storage.models import DeviceRow
from vyry.storage.notice_outbox import (
    Audience,
    NewNotice,
    TortoiseNoticeOutbox,
    enqueue_devices_changed,
    enqueue_notice,
)


@pytest.fixture(params=["sqlite", "postgres"])
def mail_url(request: pytest.FixtureRequest) -> str:
    """Notices wait in the transaction that they tell of: memory has none."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@dataclass(slots=True)
class Person:
    user_id: UserId
    device: UUID
    mailbox: MailboxKey


async def sign_up(name: str, refresh: str) -> Person:
    device = new_device(refresh, NOON)
    made: SignupResult = await TortoiseAccounts().sign_up(stored_number(name * 64), device, NOON)
    row = await DeviceRow.get(id=device.device)
    await DeviceRow.filter(id=row.id).update(registration_id=7)
    return Person(made.user_id, device.device, MailboxKey(row.mailbox))


async def sign_up_with_conversations(*names: str) -> list[Person]:
    """The first of these people shares a conversation with each of the others."""
    people = [await sign_up(name, name) for name in names]
    for other in people[1:]:
        await TortoiseConversations().open_direct(people[0].user_id, other.user_id, NOON)
    return people


class RecordingSockets(NoSockets):
    """The sockets of a node with these readers: records the entries that it is to deliver."""

    def __init__(self, *readers: MailboxKey) -> None:
        self.readers = readers
        self.delivered: list[tuple[MailboxKey, int]] = []

    def on_deposited(self, rows: Sequence[Deposited]) -> set[MailboxKey]:
        self.delivered += [(row.mailbox, row.seq) for row in rows]
        return set()


def notices(mail_harness: MailStoreHarness, sockets_here: NoSockets | None = None) -> NoticePoster:
    """As a node has them; every call is another node."""
    sockets = NodeSockets(sockets_here)
    depositor = Depositor(mail_harness.store, notifier=InProcessNotifier(sockets), sockets=sockets)
    return NoticePoster(
        mail_harness.store,
        router=Router(InProcessWorkTopic(), depositor=depositor, sockets=sockets),
        clock=mail_harness.clock,
        outbox=TortoiseNoticeOutbox(),
        deferred=TortoiseDeferredNotices(),
    )


async def notices_in(mail_harness: MailStoreHarness, mailbox: MailboxKey) -> list[dict[str, object]]:
    """The notices in a mailbox, in order."""
    await mail_harness.store.deposit([mailbox])
    return [
        orjson.loads(text) for text in contents_of(await mail_harness.numbered_entries(mailbox)) if text is not None
    ]


async def tell_own(person: Person, without: MailboxKey | None = None) -> None:
    async with transaction() as tx:
        await enqueue_notice(tx, NewNotice(person.user_id, Audience.OWN, {"name": "pinChanged"}, NOON, without))


def own_notice(person: Person, at: datetime = NOON) -> NewNotice:
    return NewNotice(person.user_id, Audience.OWN, {"name": "pinChanged"}, at)


async def enqueue_notices(*tellings: NewNotice) -> None:
    async with transaction() as tx:
        for telling in tellings:
            await enqueue_notice(tx, telling)


async def change_devices(person: Person, epoch: int, *, identity_changed: bool = False) -> None:
    async with transaction() as tx:
        await enqueue_devices_changed(tx, person.user_id, epoch, NOON, identity_changed=identity_changed)


async def end(person: Person) -> list[EndedDevice]:
    async with transaction() as tx:
        return list(await end_devices(tx, person.user_id, [person.device], NOON))


async def test_the_end_of_a_device_is_told_to_everybody_who_shares_a_conversation(
    mail_harness: MailStoreHarness,
) -> None:
    ann, bo, cy = await sign_up_with_conversations("a", "b", "c")
    stranger = await sign_up("d", "d")

    await end(ann)
    assert await notices(mail_harness).post_pending() == 1

    notice = {"name": "devicesChanged", "userId": str(ann.user_id), "epoch": 2, "identityChanged": False}
    assert await notices_in(mail_harness, bo.mailbox) == await notices_in(mail_harness, cy.mailbox) == [notice]
    assert await notices_in(mail_harness, stranger.mailbox) == []


async def test_a_new_sign_up_says_that_the_identity_changed(mail_harness: MailStoreHarness) -> None:
    ann, bo = await sign_up_with_conversations("a", "b")

    again = await sign_up("a", "again")
    await notices(mail_harness).post_pending()

    (notice,) = await notices_in(mail_harness, bo.mailbox)
    assert (notice["name"], notice["identityChanged"]) == ("devicesChanged", True)
    assert again.user_id == ann.user_id
    assert await notices_in(mail_harness, again.mailbox) == []


async def test_of_several_changes_of_devices_the_last_is_told_and_that_the_identity_changed(
    mail_harness: MailStoreHarness,
) -> None:
    ann, bo, _ = await sign_up_with_conversations("a", "b", "c")

    await change_devices(ann, 7, identity_changed=True)
    await change_devices(bo, 5)
    for epoch in (8, 9):
        await change_devices(ann, epoch)

    assert await notices(mail_harness).post_pending() == 2
    (notice,) = await notices_in(mail_harness, bo.mailbox)
    assert (notice["userId"], notice["epoch"], notice["identityChanged"]) == (str(ann.user_id), 9, True)


async def test_a_change_while_the_one_before_is_being_told_is_told_too(mail_harness: MailStoreHarness) -> None:
    ann, bo = await sign_up_with_conversations("a", "b")
    await change_devices(ann, 7)
    (before,) = await TortoiseNoticeOutbox().load_pending(10, MAX_COPIES)

    await change_devices(ann, 8)
    await TortoiseNoticeOutbox().complete([before.notice_id])
    await notices(mail_harness).post_pending()

    assert [each["epoch"] for each in await notices_in(mail_harness, bo.mailbox)] == [8]


async def test_who_causes_many_notices_waits_for_the_turn_of_others(mail_harness: MailStoreHarness) -> None:
    ann, bo, cy = await sign_up_with_conversations("a", "b", "c")
    moments = [NOON + timedelta(seconds=n) for n in range(5)]
    bodies = [{"name": "callMissed", "callId": n} for n in range(3)]
    calls = [
        NewNotice(bo.user_id, Audience.OWN, body, at, caused_by=ann.user_id)
        for body, at in zip(bodies, moments[:3], strict=True)
    ]

    await enqueue_notices(*calls, own_notice(ann, moments[3]), own_notice(bo, moments[3]), own_notice(cy, moments[4]))

    waiting = await TortoiseNoticeOutbox().load_pending(10, MAX_COPIES)
    assert [each.body.get("callId") for each in waiting] == [0, None, None, 1, 2, None]
    boxes = [bo.mailbox, bo.mailbox, cy.mailbox, bo.mailbox, bo.mailbox, ann.mailbox]
    assert [each.mailboxes for each in waiting] == [[box] for box in boxes]


async def test_changes_of_groups_wait_for_all_other_notices(mail_harness: MailStoreHarness) -> None:
    ann, bo = await sign_up_with_conversations("a", "b")
    later = NOON + timedelta(seconds=1)

    await enqueue_notices(NewNotice(uuid4(), Audience.MEMBERS, {"name": "conversationChanged"}, NOON))
    await change_devices(bo, 8)
    await enqueue_notices(own_notice(ann, later), own_notice(ann, later))

    names = [each.body["name"] for each in await TortoiseNoticeOutbox().load_pending(10, MAX_COPIES)]
    assert names == ["pinChanged", "devicesChanged", "pinChanged", "conversationChanged"]


async def test_a_pass_ends_after_so_many_copies(mail_harness: MailStoreHarness) -> None:
    people = await sign_up_with_conversations("a", "b", "c")

    await enqueue_notices(*(own_notice(each) for each in people))

    outbox = TortoiseNoticeOutbox()
    assert [len(await outbox.load_pending(10, copies)) for copies in (1, 2, 3, 4)] == [1, 2, 3, 3]
    assert len(await outbox.load_pending(2, 4)) == 2


async def test_the_end_of_a_device_without_keys_is_news_to_nobody(mail_harness: MailStoreHarness) -> None:
    ann, bo = await sign_up_with_conversations("a", "b")
    await DeviceRow.filter(id=ann.device).update(registration_id=None)

    await end(ann)

    assert await notices(mail_harness).post_pending() == 0
    assert await notices_in(mail_harness, bo.mailbox) == []


async def test_the_device_that_knows_is_not_told(mail_harness: MailStoreHarness) -> None:
    (ann,) = await sign_up_with_conversations("a")

    await tell_own(ann)
    await tell_own(ann, without=ann.mailbox)
    await notices(mail_harness).post_pending()

    assert await notices_in(mail_harness, ann.mailbox) == [{"name": "pinChanged"}]


async def test_what_was_rolled_back_is_told_to_nobody(mail_harness: MailStoreHarness) -> None:
    (ann,) = await sign_up_with_conversations("a")

    with pytest.raises(ZeroDivisionError):
        await _enqueue_and_fail(ann)

    assert await notices(mail_harness).post_pending() == 0


async def _enqueue_and_fail(person: Person) -> None:
    async with transaction() as tx:
        await enqueue_notice(tx, NewNotice(person.user_id, Audience.OWN, {"name": "pinChanged"}, NOON))
        raise ZeroDivisionError


async def test_a_crash_after_the_post_tells_nobody_twice(mail_harness: MailStoreHarness) -> None:
    (ann,) = await sign_up_with_conversations("a")
    await tell_own(ann)
    row = await NoticeRow.get()
    await notices(mail_harness).post_pending()

    # As if the process had died before it could forget the notice.
    _ = await NoticeRow.create(id=row.id, account_id=row.account_id, audience=row.audience, body=row.body, at=row.at)
    mail_harness.clock.advance(seconds=1)
    await notices(mail_harness).post_pending()

    assert await notices_in(mail_harness, ann.mailbox) == [{"name": "pinChanged"}]


async def test_a_notice_is_deposited_by_its_post_for_the_readers_of_the_node(mail_harness: MailStoreHarness) -> None:
    ann, bo = await sign_up("a", "a"), await sign_up("b", "b")
    here = RecordingSockets(ann.mailbox)
    await tell_own(ann)
    await tell_own(bo)

    await notices(mail_harness, here).post_pending()

    assert here.delivered == [(ann.mailbox, 1)]
    assert len(await mail_harness.numbered_entries(ann.mailbox)) == 1
    assert await mail_harness.numbered_entries(bo.mailbox) == []
    assert await notices_in(mail_harness, bo.mailbox) == [{"name": "pinChanged"}]


async def test_two_nodes_that_deliver_at_once_tell_once(mail_harness: MailStoreHarness) -> None:
    (ann,) = await sign_up_with_conversations("a")
    for _ in range(5):
        await tell_own(ann)

    await asyncio.gather(*(notices(mail_harness).post_pending() for _ in range(4)))

    assert len(await notices_in(mail_harness, ann.mailbox)) == 5
    assert await TortoiseNoticeOutbox().load_pending(10, MAX_COPIES) == []


async def test_more_devices_than_a_post_has_copies_are_told_too(mail_harness: MailStoreHarness) -> None:
    (ann,) = await sign_up_with_conversations("a")
    boxes = [await mail_harness.add_mailbox(ann.user_id, number % 127 + 1) for number in range(MAX_COPIES)]

    await tell_own(ann)
    await notices(mail_harness).post_pending()

    assert [len(await notices_in(mail_harness, box)) for box in (ann.mailbox, boxes[0], boxes[-1])] == [1, 1, 1]
