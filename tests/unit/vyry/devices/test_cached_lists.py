"""The caches of device lists and conversations: load what is missing, drop what is invalidated, never go back to an older version."""

import asyncio
from collections.abc import Collection

import pytest

from tests.fakes.conversations import MemoryConversations
from tests.support.directory_harness import NOON
from vyry.conversations.conversations import CachedConversations, Conversation, ConversationKind
from vyry.devices.device_lists import CachedDeviceLists, Recipient
from vyry.kernel.ids import ConversationId, UserId, new_id


ANN, BO, CY = (UserId(new_id()) for _ in range(3))


class Directory:
    """Device lists whose epochs the test sets; records what is loaded."""

    def __init__(self) -> None:
        self.epochs = {ANN: 1, BO: 1}
        self.asked: list[set[UserId]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def load_lists(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        self.asked.append(set(users))
        found = {user: Recipient(user, self.epochs[user], {}) for user in users if user in self.epochs}
        await self.gate.wait()
        return found


@pytest.fixture
def directory() -> Directory:
    return Directory()


async def test_only_what_is_missing_is_loaded(directory: Directory) -> None:
    cache = CachedDeviceLists(directory)

    await cache.get([ANN])
    both = await cache.get([ANN, BO])
    await cache.get([BO, ANN])

    assert both.keys() == {ANN, BO}
    assert directory.asked == [{ANN}, {BO}]


async def test_unknown_accounts_are_asked_for_each_time(directory: Directory) -> None:
    cache = CachedDeviceLists(directory)

    assert await cache.get([CY]) == {}
    directory.epochs[CY] = 1

    assert (await cache.get([CY])).keys() == {CY}


async def test_what_was_forgotten_is_loaded_anew(directory: Directory) -> None:
    cache = CachedDeviceLists(directory)
    await cache.get([ANN])
    directory.epochs[ANN] = 2

    cache.invalidate([ANN, CY])

    assert (await cache.get([ANN]))[ANN].epoch == 2


async def test_a_slow_load_does_not_bring_an_older_list_back(directory: Directory) -> None:
    cache = CachedDeviceLists(directory)
    directory.gate.clear()
    slow = asyncio.create_task(cache.get([ANN]))
    await asyncio.sleep(0)
    directory.gate.set()
    directory.epochs[ANN] = 2
    fresh = await cache.get([ANN])
    await slow

    assert fresh[ANN].epoch == (await cache.get([ANN]))[ANN].epoch == 2


async def test_the_list_used_longest_ago_goes_first(directory: Directory) -> None:
    directory.epochs[CY] = 1
    cache = CachedDeviceLists(directory, capacity=2)

    for user in (ANN, BO, ANN, CY):
        await cache.get([user])
    await cache.get([ANN, CY])
    await cache.get([BO])

    assert directory.asked == [{ANN}, {BO}, {CY}, {BO}]


class VersionedConversations(MemoryConversations):
    """Conversations whose versions the test sets; records what is loaded."""

    def __init__(self) -> None:
        super().__init__(())
        self.versions: dict[ConversationId, int] = {}
        self.asked: list[set[ConversationId]] = []

    async def load(self, ids: Collection[ConversationId]) -> dict[ConversationId, Conversation]:
        self.asked.append(set(ids))
        return {
            key: Conversation(key, ConversationKind.DIRECT, {}, self.versions[key], None, None, NOON, NOON)
            for key in ids
            if key in self.versions
        }


async def test_conversations_are_remembered_alike() -> None:
    circle, one, two = VersionedConversations(), ConversationId(new_id()), ConversationId(new_id())
    circle.versions = {one: 1, two: 1}
    cache = CachedConversations(circle, capacity=1)

    await cache.get([one])
    await cache.get([one])
    cache.invalidate([one])
    circle.versions[one] = 2
    again = await cache.get([one])
    await cache.get([two])
    await cache.get([one])

    assert again[one].version == 2
    assert circle.asked == [{one}, {one}, {two}, {one}]
