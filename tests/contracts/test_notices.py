"""What the outbox of notices promises: who is told, and that a crash at any point tells nobody twice and forgets nobody."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson
import pytest

from tests.account_room import hidden, new_device
from tests.contracts.mail_room import NOON, MailRoom, texts
from vyry.accounts.account import EndedDevice, SignedUp
from vyry.adapters.accounts import TortoiseAccounts
from vyry.adapters.circles import TortoiseConversations
from vyry.adapters.database import transaction
from vyry.adapters.devices import end_devices
from vyry.adapters.held_notices import TortoiseHeldNotices
from vyry.adapters.in_process import InProcessDoorbell, InProcessMailbags
from vyry.adapters.notices import Audience, Telling, TortoiseNoticeOutbox, devices_changed, enqueue
from vyry.adapters.rows import DeviceRow, NoticeRow
from vyry.ids import MailboxKey, UserId
from vyry.mail.depositing import Depositor
from vyry.mail.notices import COPIES, Notices
from vyry.mail.routing import Router


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
    made: SignedUp = await TortoiseAccounts().sign_up(hidden(name * 64), device, NOON)
    row = await DeviceRow.get(id=device.device)
    await DeviceRow.filter(id=row.id).update(registration_id=7)
    return Person(made.user_id, device.device, MailboxKey(row.mailbox))


async def acquainted(*names: str) -> list[Person]:
    """The first of these people shares a conversation with each of the others."""
    people = [await sign_up(name, name) for name in names]
    for other in people[1:]:
        await TortoiseConversations().open_direct(people[0].user_id, other.user_id, NOON)
    return people


def notices(room: MailRoom) -> Notices:
    """As a node has them; every call is another node."""
    router = Router(InProcessMailbags(), Depositor(room.store, InProcessDoorbell()))
    return Notices(room.store, router, room.clock, TortoiseNoticeOutbox(), TortoiseHeldNotices())


async def told(room: MailRoom, mailbox: MailboxKey) -> list[dict[str, object]]:
    """The notices in a mailbox, in order."""
    await room.store.deposit([mailbox])
    return [orjson.loads(text) for text in texts(await room.entries(mailbox)) if text is not None]


async def tell_own(person: Person, without: MailboxKey | None = None) -> None:
    async with transaction() as inside:
        await enqueue(inside, Telling(person.user_id, Audience.OWN, {"name": "pinChanged"}, NOON, without))


def own(person: Person, at: datetime = NOON) -> Telling:
    return Telling(person.user_id, Audience.OWN, {"name": "pinChanged"}, at)


async def have_told(*tellings: Telling) -> None:
    async with transaction() as inside:
        for telling in tellings:
            await enqueue(inside, telling)


async def change_devices(person: Person, epoch: int, *, identity_changed: bool = False) -> None:
    async with transaction() as inside:
        await devices_changed(inside, person.user_id, epoch, NOON, identity_changed=identity_changed)


async def end(person: Person) -> list[EndedDevice]:
    async with transaction() as inside:
        return list(await end_devices(inside, person.user_id, [person.device], NOON))


async def test_the_end_of_a_device_is_told_to_everybody_who_shares_a_conversation(room: MailRoom) -> None:
    ann, bo, cy = await acquainted("a", "b", "c")
    stranger = await sign_up("d", "d")

    await end(ann)
    assert await notices(room).deliver() == 1

    notice = {"name": "devicesChanged", "userId": str(ann.user_id), "epoch": 2, "identityChanged": False}
    assert await told(room, bo.mailbox) == await told(room, cy.mailbox) == [notice]
    assert await told(room, stranger.mailbox) == []


async def test_a_new_sign_up_says_that_the_identity_changed(room: MailRoom) -> None:
    ann, bo = await acquainted("a", "b")

    again = await sign_up("a", "again")
    await notices(room).deliver()

    (notice,) = await told(room, bo.mailbox)
    assert (notice["name"], notice["identityChanged"]) == ("devicesChanged", True)
    assert again.user_id == ann.user_id
    assert await told(room, again.mailbox) == []


async def test_of_several_changes_of_devices_the_last_is_told_and_that_the_identity_changed(room: MailRoom) -> None:
    ann, bo, _ = await acquainted("a", "b", "c")

    await change_devices(ann, 7, identity_changed=True)
    await change_devices(bo, 5)
    for epoch in (8, 9):
        await change_devices(ann, epoch)

    assert await notices(room).deliver() == 2
    (notice,) = await told(room, bo.mailbox)
    assert (notice["userId"], notice["epoch"], notice["identityChanged"]) == (str(ann.user_id), 9, True)


async def test_a_change_while_the_one_before_is_being_told_is_told_too(room: MailRoom) -> None:
    ann, bo = await acquainted("a", "b")
    await change_devices(ann, 7)
    (before,) = await TortoiseNoticeOutbox().waiting(10, COPIES)

    await change_devices(ann, 8)
    await TortoiseNoticeOutbox().done([before.notice_id])
    await notices(room).deliver()

    assert [each["epoch"] for each in await told(room, bo.mailbox)] == [8]


async def test_who_causes_many_notices_waits_for_the_turn_of_others(room: MailRoom) -> None:
    ann, bo, cy = await acquainted("a", "b", "c")
    moments = [NOON + timedelta(seconds=n) for n in range(5)]
    bodies = [{"name": "callMissed", "callId": n} for n in range(3)]
    calls = [
        Telling(bo.user_id, Audience.OWN, body, at, caused_by=ann.user_id)
        for body, at in zip(bodies, moments[:3], strict=True)
    ]

    await have_told(*calls, own(ann, moments[3]), own(bo, moments[3]), own(cy, moments[4]))

    waiting = await TortoiseNoticeOutbox().waiting(10, COPIES)
    assert [each.body.get("callId") for each in waiting] == [0, None, None, 1, 2, None]
    boxes = [bo.mailbox, bo.mailbox, cy.mailbox, bo.mailbox, bo.mailbox, ann.mailbox]
    assert [each.mailboxes for each in waiting] == [[box] for box in boxes]


async def test_changes_of_groups_wait_for_all_other_notices(room: MailRoom) -> None:
    ann, bo = await acquainted("a", "b")
    later = NOON + timedelta(seconds=1)

    await have_told(Telling(uuid4(), Audience.MEMBERS, {"name": "conversationChanged"}, NOON))
    await change_devices(bo, 8)
    await have_told(own(ann, later), own(ann, later))

    names = [each.body["name"] for each in await TortoiseNoticeOutbox().waiting(10, COPIES)]
    assert names == ["pinChanged", "devicesChanged", "pinChanged", "conversationChanged"]


async def test_a_pass_ends_after_so_many_copies(room: MailRoom) -> None:
    people = await acquainted("a", "b", "c")

    await have_told(*(own(each) for each in people))

    outbox = TortoiseNoticeOutbox()
    assert [len(await outbox.waiting(10, copies)) for copies in (1, 2, 3, 4)] == [1, 2, 3, 3]
    assert len(await outbox.waiting(2, 4)) == 2


async def test_the_end_of_a_device_without_keys_is_news_to_nobody(room: MailRoom) -> None:
    ann, bo = await acquainted("a", "b")
    await DeviceRow.filter(id=ann.device).update(registration_id=None)

    await end(ann)

    assert await notices(room).deliver() == 0
    assert await told(room, bo.mailbox) == []


async def test_the_device_that_knows_is_not_told(room: MailRoom) -> None:
    (ann,) = await acquainted("a")

    await tell_own(ann)
    await tell_own(ann, without=ann.mailbox)
    await notices(room).deliver()

    assert await told(room, ann.mailbox) == [{"name": "pinChanged"}]


async def test_what_was_rolled_back_is_told_to_nobody(room: MailRoom) -> None:
    (ann,) = await acquainted("a")

    with pytest.raises(ZeroDivisionError):
        await _enqueue_and_fail(ann)

    assert await notices(room).deliver() == 0


async def _enqueue_and_fail(person: Person) -> None:
    async with transaction() as inside:
        await enqueue(inside, Telling(person.user_id, Audience.OWN, {"name": "pinChanged"}, NOON))
        raise ZeroDivisionError


async def test_a_crash_after_the_post_tells_nobody_twice(room: MailRoom) -> None:
    (ann,) = await acquainted("a")
    await tell_own(ann)
    row = await NoticeRow.get()
    await notices(room).deliver()

    # As if the process had died before it could forget the notice.
    _ = await NoticeRow.create(id=row.id, account_id=row.account_id, audience=row.audience, body=row.body, at=row.at)
    room.clock.advance(seconds=1)
    await notices(room).deliver()

    assert await told(room, ann.mailbox) == [{"name": "pinChanged"}]


async def test_two_nodes_that_deliver_at_once_tell_once(room: MailRoom) -> None:
    (ann,) = await acquainted("a")
    for _ in range(5):
        await tell_own(ann)

    await asyncio.gather(*(notices(room).deliver() for _ in range(4)))

    assert len(await told(room, ann.mailbox)) == 5
    assert await TortoiseNoticeOutbox().waiting(10, COPIES) == []


async def test_more_devices_than_a_post_has_copies_are_told_too(room: MailRoom) -> None:
    (ann,) = await acquainted("a")
    boxes = [await room.box(ann.user_id, number % 127 + 1) for number in range(COPIES)]

    await tell_own(ann)
    await notices(room).deliver()

    assert [len(await told(room, box)) for box in (ann.mailbox, boxes[0], boxes[-1])] == [1, 1, 1]
