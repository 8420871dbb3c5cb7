"""Typing: who may tell whom, how often, for how long, and which sockets it reaches."""

from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import uuid4

import msgpack
import pytest

from tests.support.fake_clock import FakeClock
from tests.support.signals_harness import (
    ANN,
    BO,
    CY,
    SignalsHarness,
    StaticDeviceLists,
    caller_of,
    open_signals_harness,
)
from vyry.conversations.conversations import CachedConversations
from vyry.devices.device_lists import CachedDeviceLists
from vyry.errors import NotAMember
from vyry.kernel.ids import ConversationId, UserId
from vyry.signals.typing_indicators import TypingIndicators


@dataclass
class Settings:
    """Who has switched typing off."""

    off: set[UserId] = field(default_factory=set)

    async def filter_hidden(self, typist: UserId, users: Collection[UserId]) -> set[UserId]:
        return self.off & set(users)


@dataclass
class Node:
    harness: SignalsHarness
    typists: TypingIndicators
    clock: FakeClock
    settings: Settings

    async def say(self, is_typing: bool, device: int = 1) -> None:
        await self.typists.set_typing(caller_of(ANN, device), self.harness.conversation_id, is_typing)

    async def told(self) -> list[tuple[set[object], bool]]:
        """What was passed on since the last look: to which sockets, and whether somebody types."""
        found: list[tuple[set[object], bool]] = []
        while True:
            try:
                event = await self.harness.listener.next_event(0.01)
            except TimeoutError:
                return found
            frame = event[2]
            assert isinstance(frame, bytes)
            assert isinstance(event[1], set)
            found.append((event[1], msgpack.unpackb(frame)[1]["isTyping"]))


TO_BO = {21, 22}


@pytest.fixture
async def node() -> Node:
    harness, clock, settings = await open_signals_harness(), FakeClock(), Settings()
    lists = CachedDeviceLists(StaticDeviceLists())
    typing = TypingIndicators(
        CachedConversations(harness.store), device_lists=lists, notifier=harness.notifier, privacy=settings, clock=clock
    )
    return Node(harness, typing, clock, settings)


async def test_typing_reaches_all_devices_of_the_other_members(node: Node) -> None:
    await node.say(True)

    what, boxes, frame = await node.harness.listener.next_event()
    assert (what, boxes) == ("relay", TO_BO)
    assert msgpack.unpackb(frame) == [
        "typing",
        {"conversationId": str(node.harness.conversation_id), "userId": str(ANN), "deviceId": 1, "isTyping": True},
    ]


@pytest.mark.parametrize("is_real", [True, False], ids=["foreign", "invented"])
async def test_typing_in_a_conversation_of_others_is_refused_like_in_one_that_is_not(node: Node, is_real: bool) -> None:
    conversation = node.harness.conversation_id if is_real else ConversationId(uuid4())

    with pytest.raises(NotAMember):
        await node.typists.set_typing(caller_of(CY, 1), conversation, True)


async def test_however_often_it_is_said_it_is_told_once_in_three_seconds(node: Node) -> None:
    for _ in range(6):
        await node.say(True)
        node.clock.advance(seconds=1)

    assert await node.told() == [(TO_BO, True)] * 2


async def test_who_flickers_is_shown_to_begin_once_in_three_seconds(node: Node) -> None:
    for is_typing in [True, False] * 20:
        await node.say(is_typing)

    assert await node.told() == [(TO_BO, True), (TO_BO, False)]
    node.clock.advance(seconds=3)
    await node.say(True)
    assert await node.told() == [(TO_BO, True)]


async def test_the_end_is_told_at_once(node: Node) -> None:
    await node.say(True)
    await node.say(False)
    await node.say(False)

    assert await node.told() == [(TO_BO, True), (TO_BO, False)]


async def test_who_says_nothing_more_has_stopped_after_ten_seconds(node: Node) -> None:
    await node.say(True)
    node.clock.advance(seconds=9)
    await node.typists.expire()
    assert await node.told() == [(TO_BO, True)]

    node.clock.advance(seconds=1)
    await node.typists.expire()
    await node.typists.expire()

    assert await node.told() == [(TO_BO, False)]


async def test_who_goes_on_goes_on_being_shown(node: Node) -> None:
    for _ in range(20):
        await node.say(True)
        node.clock.advance(seconds=2)
        await node.typists.expire()

    assert {is_typing for _, is_typing in await node.told()} == {True}


async def test_each_device_types_for_itself(node: Node) -> None:
    await node.say(True, 1)
    await node.say(True, 2)
    await node.say(False, 1)

    assert await node.told() == [(TO_BO, True), (TO_BO, True), (TO_BO, False)]


async def test_who_has_switched_it_off_neither_shows_it_nor_sees_it(node: Node) -> None:
    node.settings.off = {ANN}
    await node.say(True)
    assert await node.told() == []

    node.settings.off = {BO}
    node.clock.advance(seconds=3)
    await node.say(True)
    assert await node.told() == []


async def test_no_more_are_remembered_than_a_process_has_room_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vyry.signals.typing_indicators.MAX_TYPISTS", 1)
    await node.say(True, 1)
    await node.say(True, 2)
    await node.typists.expire()

    assert await node.told() == [(TO_BO, True), (TO_BO, True), (TO_BO, False)]
    assert len(node.typists._typists) == 1
