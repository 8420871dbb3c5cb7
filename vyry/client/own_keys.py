"""This device's own sender keys: one generation in each group, and which devices were told it."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from vyry.client.packing import pack, unpack
from vyry.client.store import Store
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.sender_keys import Reader, Speaker, Where


_KIND: Final = "own sender key"


class OwnKeys:
    """Reads and writes them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, conversation_id: UUID) -> Speaker | None:
        """The present generation."""
        kept = self._store.get(_KIND, str(conversation_id))
        return unpack(Speaker, kept) if kept else None

    def keep(self, conversation_id: UUID, own: Speaker | None) -> None:
        """Store it; None: the next message makes a new one."""
        self._store.put(_KIND, str(conversation_id), pack(own) if own else None)

    def current(self, where: Where, readers: Collection[Reader], now: int) -> Speaker:
        """The generation for the next message to these devices, a new one if the rules ask for it."""
        held = self.get(where.conversation_id)
        if held is None or held.is_due(readers, now):
            held = Speaker.fresh(where, now)
            self.keep(where.conversation_id, held)
        return held

    def forget_reader(self, user_id: UUID) -> None:
        """An account gave up its identity key: generations that any of its devices was told are not used any more."""
        for kept in self._store.all(_KIND):
            held = unpack(Speaker, kept)
            if any(reader.address.user_id == user_id for reader in held.told):
                self.keep(held.key.where.conversation_id, None)

    def untell(self, conversation_id: UUID, address: Address) -> Speaker | None:
        """A device has lost it: what it answers has to be told again."""
        held = self.get(conversation_id)
        if held is None:
            return None
        held = held.untelling(address)
        self.keep(conversation_id, held)
        return held
