"""Three people and their devices, whose sockets are all open on one node, for tests of what is passed on."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from tests.listening import Heard
from vyry.accounts.account import Caller
from vyry.adapters.in_process import InProcessDoorbell
from vyry.adapters.memory_circles import MemoryConversations
from vyry.devices.directory import ListedDevice, Recipient
from vyry.ids import ConversationId, DeviceId, MailboxId, MailboxKey, UserId


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
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
class Room:
    """Ann and Bo share a conversation."""

    store: MemoryConversations
    bell: InProcessDoorbell
    heard: Heard
    together: ConversationId


async def open_room() -> Room:
    """Everybody is there and listens."""
    store = MemoryConversations([ANN, BO, CY])
    together, _ = await store.open_direct(ANN, BO, NOON)
    bell, heard = InProcessDoorbell(), Heard()
    bell.listen(heard)
    for box in BOXES.values():
        await bell.hold(MailboxKey(box), 1)
    return Room(store, bell, heard, together.conversation_id)
