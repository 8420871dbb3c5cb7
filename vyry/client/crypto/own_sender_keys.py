"""This device's own sender keys: one generation in each group, and the devices that received it."""

from collections.abc import Collection
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.sender_keys import KeyRecipient, OwnSenderKey, SenderKeyScope


class OwnSenderKeys:
    """Reads and writes own sender keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, conversation_id: UUID) -> OwnSenderKey | None:
        """The current generation."""
        packed = self._store.get(kinds.OWN_SENDER_KEY, str(conversation_id))
        return unpack(OwnSenderKey, packed) if packed else None

    def save(self, conversation_id: UUID, own: OwnSenderKey | None) -> None:
        """Store it; None: the next message creates a new one."""
        self._store.put(kinds.OWN_SENDER_KEY, str(conversation_id), pack(own) if own else None)

    def current(self, scope: SenderKeyScope, readers: Collection[KeyRecipient], now: int) -> OwnSenderKey:
        """The generation for the next message to these devices, a new one if the rules require it."""
        own = self.get(scope.conversation_id)
        if own is None or own.needs_rotation(readers, now):
            own = OwnSenderKey.generate(scope, now)
            self.save(scope.conversation_id, own)
        return own

    def delete_for_account(self, user_id: UUID) -> None:
        """An account changed its identity key: generations that any of its devices received are not used any more."""
        for packed in self._store.all(kinds.OWN_SENDER_KEY):
            own = unpack(OwnSenderKey, packed)
            if any(reader.address.user_id == user_id for reader in own.told):
                self.save(own.key.where.conversation_id, None)

    def remove_recipient(self, conversation_id: UUID, address: Address) -> OwnSenderKey | None:
        """A device has lost the key: it has to be sent again. Returns the key."""
        own = self.get(conversation_id)
        if own is None:
            return None
        own = own.without_recipient(address)
        self.save(conversation_id, own)
        return own
