"""Fetches the data that is needed before mail is opened: conversations and their members, and the verified device lists of senders."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from uuid import UUID

from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.crypto.device_list_check import DeviceListCheck
from vyry.client.crypto.device_lists import KnownDevices
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.errors import Refused
from vyry.client.store.conversation_pins import ConversationPins
from vyry.client.store.mailbox_chain import Entry
from vyry.client.store.store import Store
from vyry.client.transport.rest import rate_limit_as_unreachable
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import ConversationForged


class Prefetcher:
    """Fetches the data that a page of entries needs and this device does not have."""

    def __init__(self, store: Store, directory: MemberDirectory) -> None:
        self._directory = directory
        self._store = store
        self._pins = ConversationPins(store)
        self._known = KnownDevices(store)
        self._list_check = DeviceListCheck(store)

    async def prefetch(self, entries: Iterable[Entry]) -> None:
        """Request each conversation and account once. Those that the node refuses stay unknown. Raises Unreachable: then nothing of the page may be opened."""
        me, senders = LocalDevice.load(self._store).user_id, list(_senders(entries))
        for conversation_id in dict.fromkeys(
            conversation_id for conversation_id, sender in senders if self._needs_members(me, conversation_id, sender)
        ):
            with suppress(ConversationForged, Refused), rate_limit_as_unreachable():
                await self._directory.refresh(conversation_id)
        for user_id in dict.fromkeys(sender.user_id for _, sender in senders if self._needs_devices(sender)):
            with suppress(Refused), rate_limit_as_unreachable():
                await self._directory.device_lists.refresh(user_id)

    def _needs_members(self, me: UUID, conversation_id: UUID, sender: Address) -> bool:
        pin = self._pins.get(conversation_id)
        if conversation_id == me:
            # The account's conversation with itself is not on the node.
            return False
        return pin is None or not (sender.user_id == me or pin.allows_sender(sender.user_id))

    def _needs_devices(self, sender: Address) -> bool:
        return self._known.is_new(sender) or self._list_check.needs_refresh(sender.user_id)


def _senders(entries: Iterable[Entry]) -> Iterator[tuple[UUID, Address]]:
    for entry in entries:
        if "senderId" in entry:
            yield UUID(entry["conversationId"]), Address(UUID(entry["senderId"]), entry["senderDeviceId"])
