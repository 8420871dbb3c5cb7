"""What announcements promise: every live device gets one notice, also after crashes at any point, also into a mailbox that is full for a while."""

import asyncio
from dataclasses import replace
from uuid import UUID

import orjson
import pytest

from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, contents_of, make_message
from vyry.accounts.events import OperatorAction
from vyry.in_process.routing import InProcessNotifier, InProcessWorkTopic
from vyry.kernel.ids import MailboxKey
from vyry.mail.depositing import Depositor
from vyry.mail.envelope import Lane
from vyry.mail.notices import NoticePoster
from vyry.mail.routing import NodeSockets, Router
from vyry.mail.store import MailboxCaps
from vyry.operator.announcements import (
    Announcement,
    PendingPosts,
    begin_announcement,
    check_text,
    count_mailboxes,
    count_pending,
    end_announcement,
    find_unfinished,
    hand_over,
)
from vyry.operator.audit import read_acts
from vyry.storage.deferred_notices import CLAIM_LEASE, TortoiseDeferredNotices
from vyry.storage.models import DeviceRow
from vyry.storage.notice_outbox import TortoiseNoticeOutbox


ACT = OperatorAction(NOON, "olga", "announce", "maintenance")


@pytest.fixture(params=["sqlite", "postgres"])
def mail_url(request: pytest.FixtureRequest) -> str:
    """Announcements are in the database: memory has none."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def caps() -> MailboxCaps:
    return MailboxCaps(notice_entries=2)


def worker(harness: MailStoreHarness) -> NoticePoster:
    """The part of a worker that posts notices; every call is another worker."""
    sockets = NodeSockets()
    depositor = Depositor(harness.store, notifier=InProcessNotifier(sockets), sockets=sockets)
    return NoticePoster(
        harness.store,
        router=Router(InProcessWorkTopic(), depositor=depositor, sockets=sockets),
        clock=harness.clock,
        outbox=TortoiseNoticeOutbox(),
        deferred=TortoiseDeferredNotices(),
    )


async def begin(text: str = "Maintenance at 22:00.", language: str | None = "en") -> Announcement:
    begun = await begin_announcement(text, language, ACT)
    assert begun is not None
    return begun


async def hand_over_all(announcement: Announcement, limit: int = 2) -> int:
    """Hand over until nothing is left; returns in how many steps."""
    steps = 0
    while await hand_over(announcement.announcement_id, limit, NOON):
        steps += 1
    return steps


async def announced_in(harness: MailStoreHarness, box: MailboxKey) -> list[dict[str, object]]:
    """The notices in a mailbox, in order."""
    await harness.store.deposit([box])
    return [orjson.loads(text) for text in contents_of(await harness.numbered_entries(box)) if text is not None]


async def test_every_live_device_gets_the_notice_once(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(5)]
    ended = await mail_harness.add_mailbox()
    await DeviceRow.filter(mailbox=ended).update(ended_at=NOON)
    announcement = await begin()

    steps = await hand_over_all(announcement)
    later = await mail_harness.add_mailbox()
    await worker(mail_harness).post_pending()

    assert (steps, announcement.total, await count_mailboxes()) == (3, 5, 6)
    body = {"name": "announcement", "text": "Maintenance at 22:00.", "language": "en"}
    body["announcementId"] = str(announcement.announcement_id)
    assert [await announced_in(mail_harness, box) for box in boxes] == [[body]] * 5
    assert [await announced_in(mail_harness, box) for box in (ended, later)] == [[], []]
    assert (await find_unfinished(), await count_pending(announcement)) == (None, PendingPosts(0, 0))
    assert [each.action async for each in read_acts(None)] == ["announce"]


async def test_a_crash_after_any_step_repeats_and_loses_nothing(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(5)]
    announcement = await begin()

    for step in range(3):
        # The command is killed after each step, and so is the worker between post and its record.
        await hand_over(announcement.announcement_id, 2, NOON)
        claimed = await TortoiseDeferredNotices().claim(mail_harness.clock.now(), 100)
        poster = worker(mail_harness)
        await mail_harness.post(*(poster._message(each.notice_id, [each.mailbox], each.body) for each in claimed))
        mail_harness.clock.advance(seconds=CLAIM_LEASE.total_seconds() + 1)
        assert (await find_unfinished() is None) == (step == 2)
    await worker(mail_harness).post_pending()

    assert [len(await announced_in(mail_harness, box)) for box in boxes] == [1] * 5
    assert await count_pending(announcement) == PendingPosts(0, 0)


async def test_two_commands_that_continue_one_announcement_share_it(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(9)]
    announcement = await begin()

    await asyncio.gather(*(hand_over_all(announcement, 1) for _ in range(3)))
    await worker(mail_harness).post_pending()

    assert [len(await announced_in(mail_harness, box)) for box in boxes] == [1] * 9


async def test_a_full_mailbox_gets_it_when_it_has_capacity(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(*(make_message(box, lane=Lane.NOTICE, text=b"{}") for _ in range(2)))
    entries = await mail_harness.store.deposit([box])
    announcement = await begin()
    await hand_over_all(announcement)

    await worker(mail_harness).post_pending()
    before = await count_pending(announcement)
    await mail_harness.acknowledge(box, 1, entries[0].head)
    await worker(mail_harness).post_pending()

    assert before == PendingPosts(0, 1)
    assert [each.get("name") for each in await announced_in(mail_harness, box)] == [None, "announcement"]
    assert await count_pending(announcement) == PendingPosts(0, 0)


async def test_two_announcements_are_both_delivered_also_into_a_full_mailbox(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(*(make_message(box, lane=Lane.NOTICE, text=b"{}") for _ in range(2)))
    entries = await mail_harness.store.deposit([box])
    for text in ("one", "two"):
        await hand_over_all(await begin(text, None))
        await worker(mail_harness).post_pending()

    await mail_harness.acknowledge(box, 2, entries[1].head)
    await worker(mail_harness).post_pending()

    assert [each["text"] for each in await announced_in(mail_harness, box)] == ["one", "two"]


async def test_a_second_announcement_waits_for_the_end_of_the_first(mail_harness: MailStoreHarness) -> None:
    boxes = [await mail_harness.add_mailbox() for _ in range(3)]
    first = await begin()
    await hand_over(first.announcement_id, 1, NOON)

    assert await begin_announcement("again", None, ACT) is None
    assert await end_announcement(first.announcement_id, replace(ACT, action="announceEnd"))
    assert not await end_announcement(first.announcement_id, ACT)
    assert await hand_over(first.announcement_id, 1, NOON) is None
    assert (await begin("again")).total == 3
    await worker(mail_harness).post_pending()

    assert [len(await announced_in(mail_harness, box)) for box in boxes] == [1, 0, 0]
    assert [each.action async for each in read_acts(None)] == ["announce", "announceEnd", "announce"]


async def test_a_node_without_devices_announces_to_nobody(mail_harness: MailStoreHarness) -> None:
    announcement = await begin()

    assert (announcement.total, await hand_over_all(announcement)) == (0, 1)


@pytest.mark.parametrize(
    ("text", "language"),
    [("", None), (" \u200b\n", None), ("x" * 1001, None), ("x", "d"), ("x", "de_CH"), ("x", "de" + "-abcd" * 8)],
)
def test_an_invalid_text_or_language_is_refused(text: str, language: str | None) -> None:
    with pytest.raises(ValueError, match=r"characters|language tag"):
        check_text(text, language)


def test_a_text_is_cleaned_like_every_display_text() -> None:
    assert check_text("  Hello \u202eall\x07 \r\n\n\n\nBye ", "de-CH") == "Hello all\n\nBye"


async def test_the_id_of_a_notice_follows_from_announcement_and_mailbox(mail_harness: MailStoreHarness) -> None:
    one = await begin()
    two = replace(one, announcement_id=UUID(int=2))

    ids = [each.notice_for(MailboxKey(box)).notice_id for each in (one, two, one) for box in (1, 2)]

    assert ids[:2] == ids[4:]
    assert len(set(ids)) == 4
