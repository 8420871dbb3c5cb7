"""Groups that this device has to look after: kept until it is done, for the process may end before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vyry.client.packing import pack, unpack
from vyry.client.store import Store


KIND: Final = "group due"


@dataclass(frozen=True, slots=True)
class Due:
    """A group to look after: who is to be told the key, and whether somebody was made to go."""

    conversation_id: UUID
    tell: tuple[UUID, ...] = ()
    is_rotating: bool = False


class Dues:
    """Reads and writes them, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, due: Due) -> None:
        """It is looked after, whatever happens."""
        with self._store.transaction():
            kept = self._store.get(KIND, str(due.conversation_id))
            before = unpack(Due, kept) if kept else Due(due.conversation_id)
            tell = tuple(dict.fromkeys((*before.tell, *due.tell)))
            merged = Due(due.conversation_id, tell, before.is_rotating or due.is_rotating)
            self._store.put(KIND, str(due.conversation_id), pack(merged))

    def due(self) -> Sequence[Due]:
        """All that are to be looked after."""
        return [unpack(Due, kept) for kept in self._store.all(KIND)]

    def done(self, due: Due) -> None:
        """It was, unless more has become due meanwhile."""
        with self._store.transaction():
            if self._store.get(KIND, str(due.conversation_id)) == pack(due):
                self._store.put(KIND, str(due.conversation_id), None)
