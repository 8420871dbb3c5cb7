"""What every mail store promises about room: one sender takes no more than is left, strangers little, and notices have room that posts cannot use."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.mail_store_harness import MailStoreHarness, make_message
from vyry.kernel.ids import MailboxKey, UserId
from vyry.mail.envelope import Lane, LossReason
from vyry.mail.store import MailboxCaps, MailStore, Preconditions


#: Four of them are the 16th part: below that nothing is counted.
ENTRIES = 64


@pytest.fixture
def caps() -> MailboxCaps:
    return MailboxCaps(mail_entries=ENTRIES, mail_bytes=1_000, control_entries=ENTRIES, notice_entries=32)


async def flood(mail_harness: MailStoreHarness, box: MailboxKey, account: UUID | None, **more: Any) -> int:
    """One account posts and posts, each post numbered before the next, until it is refused; answers how many posts were taken."""
    for taken in range(ENTRIES + 1):
        (stored,) = await mail_harness.post(make_message(box, lane=Lane.CONTROL)._replace(quota_owner=account, **more))
        if not any(stored.numbers):
            return taken
        await mail_harness.store.deposit([box])
    raise AssertionError("never refused")


async def owner_and_friends(mail_harness: MailStoreHarness, count: int) -> tuple[UserId, MailboxKey, list[UUID]]:
    """An account with a mailbox, and so many friends of it."""
    owner, friends = UserId(uuid4()), [uuid4() for _ in range(count)]
    for friend in friends:
        await mail_harness.registry.befriend(owner, friend)
    return owner, await mail_harness.add_mailbox(owner), friends


async def test_one_sender_takes_no_more_than_is_left(mail_harness: MailStoreHarness) -> None:
    _, box, (friend, other) = await owner_and_friends(mail_harness, 2)

    taken = await flood(mail_harness, box, friend)

    # Four were taken before anything was counted, and then as many as stay free.
    assert (taken, ENTRIES - taken) == (34, 30)
    assert await flood(mail_harness, box, other) == 15


async def test_bytes_are_shared_as_entries_are(mail_harness: MailStoreHarness) -> None:
    _, box, (friend, other) = await owner_and_friends(mail_harness, 2)
    posts = [make_message(box, text=bytes(400))._replace(quota_owner=account) for account in (friend, friend, other)]

    numbers = []
    for post in posts:
        (stored,) = await mail_harness.post(post)
        await mail_harness.store.deposit([box])
        numbers.append(bool(any(stored.numbers)))

    assert numbers == [True, False, True]


async def test_all_strangers_together_take_little(mail_harness: MailStoreHarness) -> None:
    _, box, (friend,) = await owner_and_friends(mail_harness, 1)

    taken = [await flood(mail_harness, box, uuid4()) for _ in range(3)]

    assert taken == [8, 0, 0]
    assert await flood(mail_harness, box, friend) > ENTRIES // 3


async def test_strangers_find_their_room_also_behind_friends(mail_harness: MailStoreHarness) -> None:
    _, box, (friend,) = await owner_and_friends(mail_harness, 1)
    await flood(mail_harness, box, friend)

    assert [await flood(mail_harness, box, uuid4()) for _ in range(2)] == [4, 0]


async def test_who_posts_in_a_shared_group_is_no_stranger(mail_harness: MailStoreHarness) -> None:
    _, box, _ = await owner_and_friends(mail_harness, 0)

    assert await flood(mail_harness, box, uuid4(), is_from_acquaintance=True) > ENTRIES // 2


async def test_the_own_devices_are_held_by_the_limit_alone(mail_harness: MailStoreHarness) -> None:
    owner, box, _ = await owner_and_friends(mail_harness, 0)

    assert await flood(mail_harness, box, owner) == ENTRIES


async def test_what_was_read_or_lost_counts_for_nobody(mail_harness: MailStoreHarness) -> None:
    _, box, (friend,) = await owner_and_friends(mail_harness, 1)
    taken = await flood(mail_harness, box, friend)
    entries = await mail_harness.numbered_entries(box)
    await mail_harness.store.discard(box, entries[-1].seq)
    await mail_harness.acknowledge(box, entries[-2].seq, entries[-2].head)

    assert await flood(mail_harness, box, friend) == taken
    (last,) = (await mail_harness.numbered_entries(box))[-1:]
    await mail_harness.acknowledge(box, last.seq, last.head)
    assert await flood(mail_harness, box, uuid4()) == 8


async def test_every_node_counts_the_same(mail_harness: MailStoreHarness, second_node_store: MailStore) -> None:
    _, box, (friend,) = await owner_and_friends(mail_harness, 1)
    await flood(mail_harness, box, friend)

    again = await second_node_store.post(
        [make_message(box, lane=Lane.CONTROL)._replace(quota_owner=friend)], Preconditions()
    )

    assert isinstance(again, list)
    assert not any(again[0].numbers)


async def test_posts_in_every_lane_leave_the_room_of_notices(mail_harness: MailStoreHarness) -> None:
    owner, box, _ = await owner_and_friends(mail_harness, 0)
    for lane in (Lane.MAIL, Lane.CONTROL):
        await flood(mail_harness, box, owner, lane=lane)

    assert await flood(mail_harness, box, None, lane=Lane.NOTICE) == 32
    (post,) = await mail_harness.post(make_message(box, lane=Lane.CONTROL))
    assert not any(post.numbers)


async def test_notices_leave_the_room_of_posts(mail_harness: MailStoreHarness) -> None:
    owner, box, _ = await owner_and_friends(mail_harness, 0)
    await flood(mail_harness, box, None, lane=Lane.NOTICE)

    assert await flood(mail_harness, box, owner) == ENTRIES


async def test_what_others_cause_leaves_room_for_the_news_of_the_own_account(mail_harness: MailStoreHarness) -> None:
    _, box, (friend,) = await owner_and_friends(mail_harness, 1)

    caused = [await flood(mail_harness, box, account, lane=Lane.NOTICE) for account in (friend, uuid4(), uuid4())]

    assert caused == [17, 2, 0]
    assert await flood(mail_harness, box, None, lane=Lane.NOTICE) == 32 - sum(caused)


async def test_a_notice_that_races_past_is_a_numbered_loss(mail_harness: MailStoreHarness) -> None:
    _, box, _ = await owner_and_friends(mail_harness, 0)
    await mail_harness.post(*(make_message(box, lane=Lane.NOTICE) for _ in range(33)))

    deposited = await mail_harness.store.deposit([box])

    assert [each.loss_reason for each in deposited] == [None] * 32 + [LossReason.CAP]


async def test_reading_notices_makes_room_for_notices(mail_harness: MailStoreHarness) -> None:
    _, box, _ = await owner_and_friends(mail_harness, 0)
    await flood(mail_harness, box, None, lane=Lane.NOTICE)
    last = (await mail_harness.numbered_entries(box))[-1]
    await mail_harness.acknowledge(box, last.seq, last.head)

    assert await flood(mail_harness, box, None, lane=Lane.NOTICE) == 32


async def test_members_of_a_group_are_no_strangers_in_their_direct_conversation(mail_harness: MailStoreHarness) -> None:
    owner, box, _ = await owner_and_friends(mail_harness, 0)
    member = uuid4()
    await mail_harness.registry.share_group(owner, member)

    assert await flood(mail_harness, box, member) > ENTRIES // 2
