"""Conversations in which sending has stopped until the person here decides."""

from typing import Final
from uuid import UUID

from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.signal_protocol.refusals import Refusal


_STOPPED: Final = "decision"


class HeldConversations:
    """Conversations in which sending has stopped, and why; inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, conversation_id: UUID, refusal: Refusal) -> None:
        """Nothing is sent there until the person decides."""
        self._store.put(_STOPPED, str(conversation_id), pack((conversation_id, refusal.name)))

    def remove(self, conversation_id: UUID) -> None:
        """Something was sent there again, or given up."""
        if self._store.get(_STOPPED, str(conversation_id)) is not None:
            self._store.put(_STOPPED, str(conversation_id), None)

    def all(self) -> dict[UUID, str]:
        """The name of the refusal, by conversation."""
        return dict(unpack(tuple[UUID, str], kept) for kept in self._store.all(_STOPPED))
