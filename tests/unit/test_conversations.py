"""Who may open, see and list conversations."""

import pytest

from tests.contracts.key_room import MemoryRoom
from tests.unit.test_prekeys import PinnedClock
from vyry.circles.conversations import Conversations
from vyry.errors import InvalidRequest, NotFound
from vyry.ids import ConversationId, UserId, new_id


@pytest.fixture
def room() -> MemoryRoom:
    return MemoryRoom()


@pytest.fixture
def conversations(room: MemoryRoom) -> Conversations:
    return Conversations(room.conversations, PinnedClock())


async def test_both_see_the_conversation_that_one_opened(conversations: Conversations, room: MemoryRoom) -> None:
    ann, bo = await room.person(), await room.person()

    opened, is_new = await conversations.open_direct(ann, bo)

    assert is_new
    assert await conversations.show(bo, opened.conversation_id) == opened
    assert (await conversations.list(bo, 50, None)).conversations == [opened]


async def test_to_outsiders_a_conversation_does_not_exist(conversations: Conversations, room: MemoryRoom) -> None:
    ann, bo, eve = [await room.person() for _ in range(3)]
    opened, _ = await conversations.open_direct(ann, bo)

    for key in (opened.conversation_id, ConversationId(new_id())):
        with pytest.raises(NotFound):
            await conversations.show(eve, key)


async def test_nobody_opens_one_with_themselves(conversations: Conversations, room: MemoryRoom) -> None:
    ann = await room.person()

    with pytest.raises(InvalidRequest) as refusal:
        await conversations.open_direct(ann, ann)

    assert refusal.value.members["fields"] == [{"field": "userId", "problem": "this is yourself"}]


async def test_somebody_who_is_not_there_is_not_found(conversations: Conversations, room: MemoryRoom) -> None:
    with pytest.raises(NotFound):
        await conversations.open_direct(await room.person(), UserId(new_id()))
