"""The rows of the history as an archive reads and writes them.

Events of an archive get negative numbers, by their time: so they stand before everything that this device received itself, and in the order of the archive.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vyry.client.store.events import Event, pack_event
from vyry.client.store.journal import event_data, history_key, open_event
from vyry.client.store.store import Store


_LOWEST: Final = -(2**62)
#: Numbers for each ms.
_PER_MS: Final = 2**18
_MAX_MS: Final = 2**43 - 1


@dataclass(frozen=True, slots=True)
class StoredRow:
    """An event of a history, and when it disappears."""

    event: Event
    ends_at: int | None


class HistoryRows:
    """Reads and writes them, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest(self) -> int:
        """The number of the newest event."""
        [(number,)] = self._store.execute("SELECT max(id) FROM event")
        return int(number or 0)

    def count(self, through: int) -> int:
        """How many events the history has, up to that number."""
        [(count,)] = self._store.execute("SELECT count(*) FROM event WHERE place IS NOT NULL AND id <= ?", through)
        return int(count)

    def conversations(self) -> Iterator[UUID]:
        """Every conversation with a history."""
        for (place,) in self._store.execute("SELECT DISTINCT place FROM event WHERE place IS NOT NULL"):
            found = self._store.execute("SELECT id, place, sealed FROM event WHERE place = ? LIMIT 1", place)
            conversation_id = open_event(self._store, *found[0]).history_conversation_id if found else None
            if conversation_id is not None:
                yield conversation_id

    def read(self, conversation_id: UUID, through: int, batch: int) -> Iterator[StoredRow]:
        """The events of a conversation up to that number, oldest first; `batch` rows are in memory at a time."""
        place, number = history_key(self._store, conversation_id), _LOWEST - 1
        while found := self._store.execute(
            "SELECT id, ends_at, sealed FROM event WHERE place = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?",
            place,
            number,
            through,
            batch,
        ):
            for number, ends_at, sealed in found:
                yield StoredRow(open_event(self._store, number, place, sealed), ends_at)

    def add(self, event: Event, conversation_id: UUID, number: int, ends_at: int | None) -> None:
        """Store an event of an archive under a free number; no program receives it."""
        place = history_key(self._store, conversation_id)
        sealed = self._store.cipher.seal(pack_event(event), event_data(number, place))
        statement = "INSERT INTO event (id, sealed, place, is_taken, ends_at) VALUES (?, ?, ?, 1, ?)"
        self._store.execute(statement, number, sealed, place, ends_at)

    def free_number(self, at: int, after: int) -> int:
        """The first free number for an event of this time (ms since 1970) behind `after`."""
        number = max(_LOWEST + min(at, _MAX_MS) * _PER_MS, after + 1)
        while self._store.execute("SELECT 1 FROM event WHERE id = ?", number):
            number += 1
        return number

    def find(self, number: int) -> Event | None:
        """The event with that number."""
        found = self._store.execute("SELECT id, place, sealed FROM event WHERE id = ?", number)
        return open_event(self._store, *found[0]) if found else None

    def delete(self, number: int) -> None:
        """Remove an event."""
        self._store.execute("DELETE FROM event WHERE id = ?", number)


#: Before every number of a restored event.
BEFORE_ALL: Final = _LOWEST - 1
