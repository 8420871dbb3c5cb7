"""This device's own sender keys: one generation in each group, and which devices were told it."""

from collections.abc import Collection
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.sender_keys import KeyRecipient, OwnSenderKey, SenderKeyScope


class OwnSenderKeys:
    """Reads and writes them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, conversation_id: UUID) -> OwnSenderKey | None:
        """The present generation."""
        kept = self._store.get(kinds.OWN_SENDER_KEY, str(conversation_id))
        return unpack(OwnSenderKey, kept) if kept else None

    def save(self, conversation_id: UUID, own: OwnSenderKey | None) -> None:
        """Store it; None: the next message makes a new one."""
        self._store.put(kinds.OWN_SENDER_KEY, str(conversation_id), pack(own) if own else None)

    def current(self, where: SenderKeyScope, readers: Collection[KeyRecipient], now: int) -> OwnSenderKey:
        """The generation for the next message to these devices, a new one if the rules ask for it."""
        held = self.get(where.conversation_id)
        if held is None or held.needs_rotation(readers, now):
            held = OwnSenderKey.generate(where, now)
            self.save(where.conversation_id, held)
        return held

    def delete_for_account(self, user_id: UUID) -> None:
        """An account gave up its identity key: generations that any of its devices was told are not used any more."""
        for kept in self._store.all(kinds.OWN_SENDER_KEY):
            held = unpack(OwnSenderKey, kept)
            if any(reader.address.user_id == user_id for reader in held.told):
                self.save(held.key.where.conversation_id, None)

    def remove_recipient(self, conversation_id: UUID, address: Address) -> OwnSenderKey | None:
        """A device has lost it: what it answers has to be told again."""
        held = self.get(conversation_id)
        if held is None:
            return None
        held = held.without_recipient(address)
        self.save(conversation_id, held)
        return held
