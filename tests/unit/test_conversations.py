"""Who may open, see and list conversations."""

import pytest

from tests.contracts.key_room import MemoryRoom
from tests.unit.test_prekeys import Counting, PinnedClock
from vyry.circles.conversations import Conversations
from vyry.errors import InvalidRequest, NotFound, RateLimited
from vyry.ids import ConversationId, UserId, new_id


@pytest.fixture
def room() -> MemoryRoom:
    return MemoryRoom()


@pytest.fixture
def conversations(room: MemoryRoom) -> Conversations:
    return Conversations(room.conversations, Counting(), PinnedClock())


async def test_both_see_the_conversation_that_one_opened(conversations: Conversations, room: MemoryRoom) -> None:
    ann, bo = await room.person(), await room.person()

    opened = await conversations.open_direct(ann, bo)

    assert opened.is_new
    assert await conversations.show(bo, opened.conversation.conversation_id) == opened.conversation
    assert (await conversations.list(bo, 50, None)).conversations == [opened.conversation]


async def test_to_outsiders_a_conversation_does_not_exist(conversations: Conversations, room: MemoryRoom) -> None:
    ann, bo, eve = [await room.person() for _ in range(3)]
    opened = await conversations.open_direct(ann, bo)

    for key in (opened.conversation.conversation_id, ConversationId(new_id())):
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


async def test_twenty_new_contacts_a_day_and_any_number_of_old_ones(
    conversations: Conversations, room: MemoryRoom
) -> None:
    ann, *others = [await room.person() for _ in range(22)]
    for other in others[:20]:
        await conversations.open_direct(ann, other)

    with pytest.raises(RateLimited):
        await conversations.open_direct(ann, others[20])

    assert not (await conversations.open_direct(ann, others[0])).is_new
    assert (await conversations.open_direct(others[20], ann)).is_new
