"""Typing: who may tell whom, and which sockets it reaches."""

from uuid import uuid4

import msgpack
import pytest

from tests.signals_room import ANN, CY, Lists, Room, caller, open_room
from vyry.circles.conversations import CachedConversations
from vyry.devices.directory import CachedDeviceLists
from vyry.errors import NotAMember
from vyry.ids import ConversationId
from vyry.signals.relay import Relay


@pytest.fixture
async def room() -> Room:
    return await open_room()


@pytest.fixture
def relay(room: Room) -> Relay:
    return Relay(CachedConversations(room.store), CachedDeviceLists(Lists()), room.bell)


async def test_typing_reaches_all_devices_of_the_other_members(room: Room, relay: Relay) -> None:
    await relay.typing(caller(ANN, 1), room.together, True)

    what, boxes, frame = await room.heard.next()
    assert (what, boxes) == ("relay", {21, 22})
    assert msgpack.unpackb(frame) == [
        "typing",
        {"conversationId": str(room.together), "userId": str(ANN), "deviceId": 1, "isTyping": True},
    ]


@pytest.mark.parametrize("is_real", [True, False], ids=["foreign", "invented"])
async def test_typing_in_a_conversation_of_others_is_refused_like_in_one_that_is_not(
    room: Room, relay: Relay, is_real: bool
) -> None:
    conversation = room.together if is_real else ConversationId(uuid4())

    with pytest.raises(NotAMember):
        await relay.typing(caller(CY, 1), conversation, True)
