"""Typing and call signals: who may send them to whom, and which sockets they reach."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgpack
import pytest

from tests.listening import Heard
from vyry.accounts.account import Caller
from vyry.adapters.in_process import InProcessDoorbell
from vyry.adapters.memory_circles import MemoryConversations
from vyry.circles.conversations import CachedConversations
from vyry.devices.directory import CachedDeviceLists, ListedDevice, Recipient
from vyry.errors import NotAMember, NotFound
from vyry.ids import ConversationId, DeviceId, MailboxId, MailboxKey, UserId
from vyry.signals.relay import Relay


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALL = UUID(int=5)
ANN, BO, CY = (UserId(uuid4()) for _ in range(3))
#: Ann and Bo have two devices each, Cy one; a mailbox is told by its owner and number.
BOXES = {(ANN, 1): 11, (ANN, 2): 12, (BO, 1): 21, (BO, 2): 22, (CY, 1): 31}


class Lists:
    """The device lists of everybody."""

    async def lists(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        return {user: Recipient(user, 1, devices(user)) for user in users}


def devices(user: UserId) -> dict[DeviceId, ListedDevice]:
    return {DeviceId(n): ListedDevice(n, MailboxKey(box)) for (owner, n), box in BOXES.items() if owner == user}


def caller(user: UserId, device: int) -> Caller:
    box = MailboxKey(BOXES[user, device])
    return Caller(user, DeviceId(device), uuid4(), box, MailboxId(uuid4()), device == 1, NOON)


@dataclass
class House:
    relay: Relay
    heard: Heard
    together: ConversationId


@pytest.fixture
async def house() -> House:
    """Ann and Bo share a conversation, and every socket is open."""
    store = MemoryConversations([ANN, BO, CY])
    together, _ = await store.open_direct(ANN, BO, NOON)
    bell, heard = InProcessDoorbell(), Heard()
    bell.listen(heard)
    for box in BOXES.values():
        await bell.hold(MailboxKey(box), 1)
    relay = Relay(CachedConversations(store), store, CachedDeviceLists(Lists()), bell)
    return House(relay, heard, together.conversation_id)


async def test_typing_reaches_all_devices_of_the_other_members(house: House) -> None:
    await house.relay.typing(caller(ANN, 1), house.together, True)

    what, boxes, frame = await house.heard.next()
    assert (what, boxes) == ("relay", {21, 22})
    assert msgpack.unpackb(frame) == [
        "typing",
        {"conversationId": str(house.together), "userId": str(ANN), "deviceId": 1, "isTyping": True},
    ]


@pytest.mark.parametrize("is_real", [True, False], ids=["foreign", "invented"])
async def test_typing_in_a_conversation_of_others_is_refused_like_in_one_that_is_not(
    house: House, is_real: bool
) -> None:
    conversation = house.together if is_real else ConversationId(uuid4())

    with pytest.raises(NotAMember):
        await house.relay.typing(caller(CY, 1), conversation, True)


async def test_a_signal_reaches_the_device_that_is_named(house: House) -> None:
    await house.relay.signal(caller(ANN, 2), (BO, DeviceId(2)), CALL, "offer", b"sealed")

    _, boxes, frame = await house.heard.next()
    assert boxes == {22}
    assert msgpack.unpackb(frame)[1] == {
        "userId": str(ANN),
        "deviceId": 2,
        "callId": str(CALL),
        "kind": "offer",
        "content": b"sealed",
    }


async def test_a_signal_to_a_person_reaches_all_their_devices(house: House) -> None:
    await house.relay.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"sealed")

    assert (await house.heard.next())[1] == {21, 22}


async def test_a_signal_to_oneself_reaches_ones_other_devices(house: House) -> None:
    await house.relay.signal(caller(ANN, 1), (ANN, None), CALL, "end", b"")

    assert (await house.heard.next())[1] == {12}


@pytest.mark.parametrize("to", [(CY, None), (UserId(uuid4()), None), (BO, DeviceId(9))])
async def test_whoever_is_out_of_reach_is_not_found(house: House, to: tuple[UserId, DeviceId | None]) -> None:
    with pytest.raises(NotFound):
        await house.relay.signal(caller(ANN, 1), to, CALL, "offer", b"sealed")
