"""Opening, reading and listing conversations."""

import pytest

from tests.support.directory_harness import MemoryDirectory
from tests.support.fake_clock import FakeClock
from vyry.conversations.conversations import Conversations
from vyry.errors import InvalidRequest, NotFound, RateLimited
from vyry.in_process.limiter import InProcessLimiter
from vyry.kernel.ids import ConversationId, UserId, new_id


@pytest.fixture
def harness() -> MemoryDirectory:
    return MemoryDirectory()


@pytest.fixture
def conversations(harness: MemoryDirectory) -> Conversations:
    return Conversations(harness.conversations, InProcessLimiter(), FakeClock())


async def test_both_see_the_conversation_that_one_opened(
    conversations: Conversations, harness: MemoryDirectory
) -> None:
    ann, bo = await harness.add_account(), await harness.add_account()

    opened = await conversations.open_direct(ann, bo)

    assert opened.is_new
    assert await conversations.load(bo, opened.conversation.conversation_id) == opened.conversation
    assert (await conversations.list(bo, 50, None)).conversations == [opened.conversation]


async def test_to_outsiders_a_conversation_does_not_exist(
    conversations: Conversations, harness: MemoryDirectory
) -> None:
    ann, bo, eve = [await harness.add_account() for _ in range(3)]
    opened = await conversations.open_direct(ann, bo)

    for key in (opened.conversation.conversation_id, ConversationId(new_id())):
        with pytest.raises(NotFound):
            await conversations.load(eve, key)


async def test_nobody_opens_one_with_themselves(conversations: Conversations, harness: MemoryDirectory) -> None:
    ann = await harness.add_account()

    with pytest.raises(InvalidRequest) as refusal:
        await conversations.open_direct(ann, ann)

    assert refusal.value.members["fields"] == [{"field": "userId", "problem": "is your own account"}]


async def test_somebody_who_is_not_there_is_not_found(conversations: Conversations, harness: MemoryDirectory) -> None:
    with pytest.raises(NotFound):
        await conversations.open_direct(await harness.add_account(), UserId(new_id()))


async def test_twenty_new_contacts_a_day_and_any_number_of_old_ones(
    conversations: Conversations, harness: MemoryDirectory
) -> None:
    ann, *others = [await harness.add_account() for _ in range(22)]
    for other in others[:20]:
        await conversations.open_direct(ann, other)

    with pytest.raises(RateLimited):
        await conversations.open_direct(ann, others[20])

    assert not (await conversations.open_direct(ann, others[0])).is_new
    assert (await conversations.open_direct(others[20], ann)).is_new
