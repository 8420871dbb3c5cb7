"""Requests, acceptances and blocks: quotas and notifications."""

from collections.abc import Collection

import pytest

from tests.support.directory_harness import MemoryDirectory, new_caller
from tests.support.fake_clock import FakeClock
from vyry.accounts.account import Caller
from vyry.contacts.blocks import Blocks
from vyry.contacts.friends import Friends, RequestDirection
from vyry.errors import InvalidRequest, NotFound, RateLimited
from vyry.in_process.limiter import InProcessLimiter
from vyry.kernel.ids import ConversationId, UserId, new_id


class RecordingListener:
    """Records notifications."""

    def __init__(self) -> None:
        self.people: list[set[UserId]] = []
        self.conversations: list[ConversationId] = []

    async def accounts_changed(self, users: Collection[UserId]) -> None:
        self.people.append(set(users))

    async def conversations_changed(self, ids: Collection[ConversationId]) -> None:
        self.conversations += ids


@pytest.fixture
def harness() -> MemoryDirectory:
    return MemoryDirectory()


@pytest.fixture
def told() -> RecordingListener:
    return RecordingListener()


@pytest.fixture
def friends(harness: MemoryDirectory, told: RecordingListener) -> Friends:
    return Friends(harness.friends, InProcessLimiter(), FakeClock(), told)


async def person(harness: MemoryDirectory) -> Caller:
    """An authenticated caller."""
    return new_caller(await harness.add_account(), 1, 1)


async def test_asking_a_stranger_is_a_new_contact_and_nothing_else_is(
    friends: Friends, harness: MemoryDirectory
) -> None:
    ann, *others = [await person(harness) for _ in range(24)]
    await harness.conversations.open_direct(ann.user_id, others[21].user_id, FakeClock().now())
    await friends.send_request(others[22], ann.user_id)
    for other in others[:20]:
        assert (await friends.send_request(ann, other.user_id)).grants

    with pytest.raises(RateLimited):
        await friends.send_request(ann, others[20].user_id)

    for known in (others[0], others[21], others[22]):
        assert not (await friends.send_request(ann, known.user_id)).grants
    assert (await harness.friends.list_requests(others[20].user_id, RequestDirection.INCOMING, 9, None)).requests == []


async def test_nobody_who_is_not_there_costs_anything(friends: Friends, harness: MemoryDirectory) -> None:
    ann, bo = await person(harness), await person(harness)

    for _ in range(30):
        with pytest.raises(NotFound):
            await friends.send_request(ann, UserId(new_id()))

    assert not (await friends.send_request(ann, bo.user_id)).are_friends
    with pytest.raises(InvalidRequest):
        await friends.send_request(ann, ann.user_id)


async def test_everybody_is_told_when_two_become_friends_and_when_they_part(
    friends: Friends, harness: MemoryDirectory, told: RecordingListener
) -> None:
    ann, bo = await person(harness), await person(harness)

    await friends.send_request(ann, bo.user_id)
    before = list(told.people)
    await friends.accept(bo, ann.user_id)
    await friends.remove(ann, bo.user_id)

    assert (before, told.people) == ([], [{ann.user_id, bo.user_id}] * 2)


async def test_everybody_is_told_of_a_block_and_of_the_conversation_it_changes(
    harness: MemoryDirectory, told: RecordingListener
) -> None:
    blocks, ann, bo = Blocks(harness.blocks, FakeClock(), told), await person(harness), await person(harness)
    opened, _ = await harness.conversations.open_direct(ann.user_id, bo.user_id, FakeClock().now())

    await blocks.block(ann, bo.user_id)
    await blocks.unblock(ann, bo.user_id)

    assert told.people == [{ann.user_id, bo.user_id}] * 2
    assert told.conversations == [opened.conversation_id] * 2
    with pytest.raises(InvalidRequest):
        await blocks.block(ann, ann.user_id)
