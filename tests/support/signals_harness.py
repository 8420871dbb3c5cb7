"""Three accounts whose devices have open sockets at one node, for tests of signals."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from tests.fakes.conversations import MemoryConversations
from tests.support.recording_listener import RecordingListener
from vyry.accounts.account import Caller
from vyry.devices.device_lists import ListedDevice, Recipient
from vyry.in_process.routing import InProcessNotifier
from vyry.kernel.ids import ConversationId, DeviceId, MailboxId, MailboxKey, UserId
from vyry.mail.routing import NodeSockets


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ANN, BO, CY = (UserId(uuid4()) for _ in range(3))
#: Ann and Bo have two devices each, Cy one; a mailbox is told by its owner and number.
MAILBOX_NUMBERS = {(ANN, 1): 11, (ANN, 2): 12, (BO, 1): 21, (BO, 2): 22, (CY, 1): 31}


class StaticDeviceLists:
    """The device lists of everybody."""

    async def load_lists(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        return {user: Recipient(user, 1, device_list_of(user)) for user in users}


def device_list_of(user: UserId) -> dict[DeviceId, ListedDevice]:
    return {
        DeviceId(n): ListedDevice(n, MailboxKey(box)) for (owner, n), box in MAILBOX_NUMBERS.items() if owner == user
    }


def caller_of(user: UserId, device: int) -> Caller:
    box = MailboxKey(MAILBOX_NUMBERS[user, device])
    return Caller(user, DeviceId(device), uuid4(), box, MailboxId(uuid4()), device == 1, NOON)


@dataclass
class SignalsHarness:
    """Ann and Bo share a conversation."""

    store: MemoryConversations
    notifier: InProcessNotifier
    listener: RecordingListener
    conversation_id: ConversationId


async def open_signals_harness() -> SignalsHarness:
    """Everybody is there and listens."""
    store = MemoryConversations([ANN, BO, CY])
    together, _ = await store.open_direct(ANN, BO, NOON)
    heard = RecordingListener()
    bell = InProcessNotifier(NodeSockets(heard))
    for box in MAILBOX_NUMBERS.values():
        await bell.register_socket(MailboxKey(box), 1)
    return SignalsHarness(store, bell, heard, together.conversation_id)
