"""What was read on own devices, and receipts of others for own contents; kept as long as contents are known."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.events import Target
from vyry.client.store.journal import KNOWN_DAYS
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store


#: Each says more than the ones before.
_STATES: Final = ("delivered", "read", "viewed")


class ReadReceipts:
    """Reads and writes them, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def mark_read(self, target: Target, now: int) -> bool:
        """Record that it was read; returns whether that is new."""
        if self.is_read(target):
            return False
        self._store.put(kinds.READ, _target_key(target), b"read", until=now + KNOWN_DAYS * DAY_MS)
        return True

    def is_read(self, target: Target) -> bool:
        """Whether it was read on an own device."""
        return self._store.get(kinds.READ, _target_key(target)) is not None

    def record_receipt(self, content_id: UUID, person: UUID, state: str, now: int) -> None:
        """Record a receipt; one that says less than an earlier one changes nothing."""
        states = dict(self.receipts(content_id))
        if person in states and _STATES.index(states[person]) >= _STATES.index(state):
            return
        states[person] = state
        self._store.put(kinds.RECEIPTS, str(content_id), pack(states), until=now + KNOWN_DAYS * DAY_MS)

    def receipts(self, content_id: UUID) -> Mapping[UUID, str]:
        """By account: delivered, read or viewed."""
        packed = self._store.get(kinds.RECEIPTS, str(content_id))
        return unpack(dict[UUID, str], packed) if packed else {}


def _target_key(target: Target) -> str:
    return f"{target.id}/{target.sender_id}"
