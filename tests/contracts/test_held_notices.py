"""What becomes of a notice for which a mailbox has no room: it waits, the newest of its subject for all, until the device makes some."""

import asyncio
from datetime import timedelta
from itertools import count

import pytest

from tests.contracts.mail_room import NOON, MailRoom, letter
from tests.contracts.test_notices import Person, acquainted, notices, told
from vyry.adapters.database import transaction
from vyry.adapters.devices import end_devices
from vyry.adapters.held_notices import TortoiseHeldNotices, hold
from vyry.adapters.held_rows import HeldNoticeRow
from vyry.adapters.notices import Audience, Telling, enqueue
from vyry.adapters.rows import NoticeRow
from vyry.devices.keyset import Through
from vyry.ids import MessageId, new_id
from vyry.mail.envelope import Lane
from vyry.mail.held import HeldNotice
from vyry.mail.store import Caps


_MOMENTS = count()


@pytest.fixture(params=["sqlite", "postgres"])
def mail_url(request: pytest.FixtureRequest) -> str:
    """As the outbox: memory has none."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def caps() -> Caps:
    return Caps(notice_entries=2)


async def tell(person: Person, **body: object) -> None:
    """News for the account, each a millisecond after the one before: of the same moment any may come first."""
    async with transaction() as inside:
        await enqueue(
            inside, Telling(person.user_id, Audience.OWN, body, NOON + timedelta(milliseconds=next(_MOMENTS)))
        )


async def full(room: MailRoom) -> Person:
    """Somebody whose mailbox has no room for notices."""
    (ann,) = await acquainted("a")
    await room.post(*(letter(ann.mailbox, text=b"{}", lane=Lane.NOTICE) for _ in range(2)))
    await room.store.deposit([ann.mailbox])
    return ann


async def read(room: MailRoom, person: Person) -> list[dict[str, object]]:
    """Read and acknowledge everything, and have the node look what waits."""
    found = await told(room, person.mailbox)
    last = (await room.entries(person.mailbox))[-1]
    await room.acknowledge(person.mailbox, last.seq, last.head)
    await notices(room).deliver()
    return found


async def test_a_notice_without_room_waits_until_the_device_makes_some(room: MailRoom) -> None:
    ann = await full(room)

    await tell(ann, name="registrationAttempted")
    for _ in range(3):
        await notices(room).deliver()
    before = await read(room, ann)

    assert before == [{}, {}]
    assert await told(room, ann.mailbox) == [{"name": "registrationAttempted"}]
    assert await HeldNoticeRow.all().count() == 0


async def test_of_one_subject_the_newest_stands_for_all(room: MailRoom) -> None:
    ann = await full(room)

    for left in (9, 8, 7):
        await tell(ann, name="pinFailed", attemptsRemaining=left)
        await notices(room).deliver()
    await tell(ann, name="pinChanged", change="removed")
    await notices(room).deliver()

    assert await HeldNoticeRow.all().count() == 2
    await read(room, ann)
    assert await told(room, ann.mailbox) == [
        {"name": "pinFailed", "attemptsRemaining": 7},
        {"name": "pinChanged", "change": "removed"},
    ]


async def test_that_the_identity_changed_is_not_hidden_by_a_later_change(room: MailRoom) -> None:
    ann = await full(room)
    other = str(new_id())

    for epoch, changed in ((2, True), (3, False), (4, False)):
        await tell(ann, name="devicesChanged", userId=other, epoch=epoch, identityChanged=changed)
    await notices(room).deliver()

    bodies = [row.body for row in await HeldNoticeRow.all().order_by("id")]
    assert sorted((body["epoch"], body["identityChanged"]) for body in bodies) == [(2, True), (4, False)]


async def test_a_hint_about_keys_waits_for_room_too(room: MailRoom) -> None:
    ann = await full(room)

    for left in (19, 3):
        await notices(room).prekeys_low({ann.mailbox: Through(left, 100)})
    await read(room, ann)

    assert await told(room, ann.mailbox) == [{"name": "prekeysLow", "oneTimeRemaining": 3, "pqRemaining": 100}]


async def test_whoever_has_room_is_told_at_once(room: MailRoom) -> None:
    ann = await full(room)
    phone = await room.box(ann.user_id, 2)

    await tell(ann, name="registrationAttempted")
    await notices(room).deliver()

    assert await told(room, phone) == [{"name": "registrationAttempted"}]
    assert [row.mailbox for row in await HeldNoticeRow.all()] == [ann.mailbox]


async def test_mailboxes_take_turns_at_having_theirs_tried(room: MailRoom) -> None:
    ann, bo = await acquainted("a", "b")
    of_ann = [HeldNotice(MessageId(new_id()), ann.mailbox, {"name": "callMissed", "userId": n}) for n in range(3)]
    async with transaction() as inside:
        await hold(inside, of_ann)
        await hold(inside, [HeldNotice(MessageId(new_id()), bo.mailbox, {"name": "registrationAttempted"})])

    claimed = await TortoiseHeldNotices().claim(NOON, 2)

    assert {each.mailbox for each in claimed} == {ann.mailbox, bo.mailbox}


async def test_a_mailbox_emptied_while_its_notice_was_put_aside_gets_it_all_the_same(room: MailRoom) -> None:
    ann = await full(room)
    notice = HeldNotice(MessageId(new_id()), ann.mailbox, {"name": "registrationAttempted"})
    await read(room, ann)

    async with transaction() as inside:
        await hold(inside, [notice])
    await notices(room).deliver()

    assert await told(room, ann.mailbox) == [{"name": "registrationAttempted"}]


async def test_what_is_made_room_for_while_it_is_tried_is_tried_again(room: MailRoom) -> None:
    ann = await full(room)
    await tell(ann, name="registrationAttempted")
    await notices(room).deliver()
    held = TortoiseHeldNotices()
    claimed = await held.claim(room.clock.now(), 10)
    entries = await room.entries(ann.mailbox)
    await room.acknowledge(ann.mailbox, entries[-1].seq, entries[-1].head)

    await held.settle([], claimed)
    await notices(room).deliver()

    assert await told(room, ann.mailbox) == [{"name": "registrationAttempted"}]


async def test_who_dies_with_claimed_notices_loses_none(room: MailRoom) -> None:
    ann = await full(room)
    await tell(ann, name="registrationAttempted")
    await notices(room).deliver()
    await TortoiseHeldNotices().claim(room.clock.now(), 10)
    await read(room, ann)

    room.clock.advance(minutes=1)
    await asyncio.gather(*(notices(room).deliver() for _ in range(3)))

    assert await told(room, ann.mailbox) == [{"name": "registrationAttempted"}]


async def test_a_crash_before_the_outbox_forgot_it_holds_it_once(room: MailRoom) -> None:
    ann = await full(room)
    await tell(ann, name="registrationAttempted")
    row = await NoticeRow.get()
    await notices(room).deliver()

    _ = await NoticeRow.create(id=row.id, account_id=row.account_id, audience=row.audience, body=row.body, at=row.at)
    await notices(room).deliver()
    await read(room, ann)
    await notices(room).deliver()

    assert await told(room, ann.mailbox) == [{"name": "registrationAttempted"}]


async def test_nothing_waits_for_a_device_that_has_ended(room: MailRoom) -> None:
    ann = await full(room)
    await tell(ann, name="registrationAttempted")
    await notices(room).deliver()
    late = HeldNotice(MessageId(new_id()), ann.mailbox, {"name": "pinChanged"})

    async with transaction() as inside:
        await end_devices(inside, ann.user_id, [ann.device], NOON)
        await hold(inside, [late])
    await notices(room).deliver()

    assert await HeldNoticeRow.all().count() == 0
