"""Contract of ConversationStore."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.directory_harness import NOON, DirectoryHarness, open_directory
from vyry.conversations.conversations import ConversationKind, ConversationStore, Role
from vyry.errors import NotFound
from vyry.kernel.ids import ConversationId, UserId, new_id


@pytest.fixture
async def harness(mail_url: str | None) -> AsyncIterator[DirectoryHarness]:
    async with open_directory(mail_url) as harness:
        yield harness


@pytest.fixture
def store(harness: DirectoryHarness) -> ConversationStore:
    return harness.conversations


@pytest.fixture
async def ann(harness: DirectoryHarness) -> UserId:
    return await harness.add_account()


@pytest.fixture
async def bo(harness: DirectoryHarness) -> UserId:
    return await harness.add_account()


async def test_a_new_conversation_has_two_members_and_no_history(
    store: ConversationStore, ann: UserId, bo: UserId
) -> None:
    opened, is_new = await store.open_direct(ann, bo, NOON)

    assert is_new
    assert (opened.kind, opened.version, opened.sealed_info, opened.message_timer_seconds) == (
        ConversationKind.DIRECT,
        1,
        None,
        None,
    )
    assert (opened.created_at, opened.last_activity_at) == (NOON, NOON)
    assert {user: (each.role, each.joined_at) for user, each in opened.members.items()} == {
        ann: (Role.MEMBER, NOON),
        bo: (Role.MEMBER, NOON),
    }


async def test_there_is_one_direct_conversation_of_two_people(
    store: ConversationStore, ann: UserId, bo: UserId
) -> None:
    first, _ = await store.open_direct(ann, bo, NOON)

    second, is_new = await store.open_direct(bo, ann, NOON + timedelta(hours=1))

    assert not is_new
    assert second == first


async def test_a_direct_conversation_is_found_by_either(store: ConversationStore, ann: UserId, bo: UserId) -> None:
    before = await store.find_direct(ann, bo)
    opened, _ = await store.open_direct(ann, bo, NOON)

    assert before is None
    assert await store.find_direct(ann, bo) == await store.find_direct(bo, ann) == opened
    with pytest.raises(NotFound):
        await store.find_direct(ann, UserId(new_id()))


async def test_of_many_who_open_it_at_once_one_makes_it(store: ConversationStore, ann: UserId, bo: UserId) -> None:
    pairs = [(ann, bo), (bo, ann)] * 10

    opened = await asyncio.gather(*(store.open_direct(*pair, NOON) for pair in pairs))

    assert len({each.conversation_id for each, _ in opened}) == 1
    assert [is_new for _, is_new in opened].count(True) == 1
    assert all(each.members.keys() == {ann, bo} for each, _ in opened)


async def test_nobody_can_talk_to_an_account_that_is_not_there(store: ConversationStore, ann: UserId) -> None:
    with pytest.raises(NotFound):
        await store.open_direct(ann, UserId(new_id()), NOON)

    assert (await store.list(ann, 10, None)).conversations == []


async def test_only_what_is_there_is_loaded(store: ConversationStore, ann: UserId, bo: UserId) -> None:
    opened, _ = await store.open_direct(ann, bo, NOON)

    loaded = await store.load([opened.conversation_id, ConversationId(new_id())])

    assert loaded == {opened.conversation_id: opened}


async def test_a_list_comes_in_pages_newest_first(harness: DirectoryHarness, ann: UserId) -> None:
    others = [await harness.add_account() for _ in range(5)]
    made = [(await harness.conversations.open_direct(ann, other, NOON))[0].conversation_id for other in others]
    await harness.conversations.open_direct(others[0], others[1], NOON)

    first = await harness.conversations.list(ann, 2, None)
    second = await harness.conversations.list(ann, 2, first.next_cursor)
    last = await harness.conversations.list(ann, 2, second.next_cursor)

    seen = [each.conversation_id for page in (first, second, last) for each in page.conversations]
    assert seen == sorted(made, reverse=True)
    assert first.next_cursor is not None
    assert last.next_cursor is None


async def test_a_page_that_ends_with_the_list_says_so(store: ConversationStore, ann: UserId, bo: UserId) -> None:
    await store.open_direct(ann, bo, NOON)

    assert (await store.list(ann, 1, None)).next_cursor is None


async def test_activity_only_moves_forward(store: ConversationStore, ann: UserId, bo: UserId) -> None:
    opened, _ = await store.open_direct(ann, bo, NOON)
    key = opened.conversation_id

    await store.record_activity([key, ConversationId(new_id())], NOON + timedelta(seconds=2))
    await store.record_activity([key], NOON + timedelta(milliseconds=1500))
    await store.record_activity([], NOON)

    assert (await store.load([key]))[key].last_activity_at == NOON + timedelta(seconds=2)
