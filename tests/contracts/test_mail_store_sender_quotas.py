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


async def flood(room: MailStoreHarness, box: MailboxKey, account: UUID | None, **more: Any) -> int:
    """One account posts and posts, each post numbered before the next, until it is refused; answers how many posts were taken."""
    for taken in range(ENTRIES + 1):
        (stored,) = await room.post(make_message(box, lane=Lane.CONTROL)._replace(quota_owner=account, **more))
        if not any(stored.numbers):
            return taken
        await room.store.deposit([box])
    raise AssertionError("never refused")


async def owner_and_friends(room: MailStoreHarness, count: int) -> tuple[UserId, MailboxKey, list[UUID]]:
    """An account with a mailbox, and so many friends of it."""
    owner, friends = UserId(uuid4()), [uuid4() for _ in range(count)]
    for friend in friends:
        await room.registry.befriend(owner, friend)
    return owner, await room.add_mailbox(owner), friends


async def test_one_sender_takes_no_more_than_is_left(room: MailStoreHarness) -> None:
    _, box, (friend, other) = await owner_and_friends(room, 2)

    taken = await flood(room, box, friend)

    # Four were taken before anything was counted, and then as many as stay free.
    assert (taken, ENTRIES - taken) == (34, 30)
    assert await flood(room, box, other) == 15


async def test_bytes_are_shared_as_entries_are(room: MailStoreHarness) -> None:
    _, box, (friend, other) = await owner_and_friends(room, 2)
    posts = [make_message(box, text=bytes(400))._replace(quota_owner=account) for account in (friend, friend, other)]

    numbers = []
    for post in posts:
        (stored,) = await room.post(post)
        await room.store.deposit([box])
        numbers.append(bool(any(stored.numbers)))

    assert numbers == [True, False, True]


async def test_all_strangers_together_take_little(room: MailStoreHarness) -> None:
    _, box, (friend,) = await owner_and_friends(room, 1)

    taken = [await flood(room, box, uuid4()) for _ in range(3)]

    assert taken == [8, 0, 0]
    assert await flood(room, box, friend) > ENTRIES // 3


async def test_strangers_find_their_room_also_behind_friends(room: MailStoreHarness) -> None:
    _, box, (friend,) = await owner_and_friends(room, 1)
    await flood(room, box, friend)

    assert [await flood(room, box, uuid4()) for _ in range(2)] == [4, 0]


async def test_who_posts_in_a_shared_group_is_no_stranger(room: MailStoreHarness) -> None:
    _, box, _ = await owner_and_friends(room, 0)

    assert await flood(room, box, uuid4(), is_near=True) > ENTRIES // 2


async def test_the_own_devices_are_held_by_the_limit_alone(room: MailStoreHarness) -> None:
    owner, box, _ = await owner_and_friends(room, 0)

    assert await flood(room, box, owner) == ENTRIES


async def test_what_was_read_or_lost_counts_for_nobody(room: MailStoreHarness) -> None:
    _, box, (friend,) = await owner_and_friends(room, 1)
    taken = await flood(room, box, friend)
    entries = await room.numbered_entries(box)
    await room.store.discard(box, entries[-1].seq)
    await room.acknowledge(box, entries[-2].seq, entries[-2].head)

    assert await flood(room, box, friend) == taken
    (last,) = (await room.numbered_entries(box))[-1:]
    await room.acknowledge(box, last.seq, last.head)
    assert await flood(room, box, uuid4()) == 8


async def test_every_node_counts_the_same(room: MailStoreHarness, twin: MailStore) -> None:
    _, box, (friend,) = await owner_and_friends(room, 1)
    await flood(room, box, friend)

    again = await twin.post([make_message(box, lane=Lane.CONTROL)._replace(quota_owner=friend)], Preconditions())

    assert isinstance(again, list)
    assert not any(again[0].numbers)


async def test_posts_in_every_lane_leave_the_room_of_notices(room: MailStoreHarness) -> None:
    owner, box, _ = await owner_and_friends(room, 0)
    for lane in (Lane.MAIL, Lane.CONTROL):
        await flood(room, box, owner, lane=lane)

    assert await flood(room, box, None, lane=Lane.NOTICE) == 32
    (post,) = await room.post(make_message(box, lane=Lane.CONTROL))
    assert not any(post.numbers)


async def test_notices_leave_the_room_of_posts(room: MailStoreHarness) -> None:
    owner, box, _ = await owner_and_friends(room, 0)
    await flood(room, box, None, lane=Lane.NOTICE)

    assert await flood(room, box, owner) == ENTRIES


async def test_what_others_cause_leaves_room_for_the_news_of_the_own_account(room: MailStoreHarness) -> None:
    _, box, (friend,) = await owner_and_friends(room, 1)

    caused = [await flood(room, box, account, lane=Lane.NOTICE) for account in (friend, uuid4(), uuid4())]

    assert caused == [17, 2, 0]
    assert await flood(room, box, None, lane=Lane.NOTICE) == 32 - sum(caused)


async def test_a_notice_that_races_past_is_a_numbered_loss(room: MailStoreHarness) -> None:
    _, box, _ = await owner_and_friends(room, 0)
    await room.post(*(make_message(box, lane=Lane.NOTICE) for _ in range(33)))

    deposited = await room.store.deposit([box])

    assert [each.loss_reason for each in deposited] == [None] * 32 + [LossReason.CAP]


async def test_reading_notices_makes_room_for_notices(room: MailStoreHarness) -> None:
    _, box, _ = await owner_and_friends(room, 0)
    await flood(room, box, None, lane=Lane.NOTICE)
    last = (await room.numbered_entries(box))[-1]
    await room.acknowledge(box, last.seq, last.head)

    assert await flood(room, box, None, lane=Lane.NOTICE) == 32


async def test_members_of_a_group_are_no_strangers_in_their_direct_conversation(room: MailStoreHarness) -> None:
    owner, box, _ = await owner_and_friends(room, 0)
    member = uuid4()
    await room.registry.share_group(owner, member)

    assert await flood(room, box, member) > ENTRIES // 2
