"""Rows of the history as they are stored, newest first: for a search, which reads very many."""

from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Final, NamedTuple
from uuid import UUID

from vyry.client.store.events import Event
from vyry.client.store.journal import event_data, history_key, open_event
from vyry.client.store.store import Store


#: Rows of a batch, and a number that no row has.
_BATCH_ROWS: Final = 2_000
_MAX_NUMBER: Final = 1 << 62
#: The rows before or after a number: of all conversations, and of one.
_BATCH_BEFORE: Final = (
    "SELECT id, place, ends_at, sealed FROM event WHERE place IS NOT NULL AND id < ? ORDER BY id DESC LIMIT ?",
    "SELECT id, place, ends_at, sealed FROM event WHERE place = ? AND id < ? ORDER BY id DESC LIMIT ?",
)
_BATCH_AFTER: Final = (
    "SELECT id, place, ends_at, sealed FROM event WHERE place IS NOT NULL AND id > ? ORDER BY id LIMIT ?",
    "SELECT id, place, ends_at, sealed FROM event WHERE place = ? AND id > ? ORDER BY id LIMIT ?",
)


class SealedEvent(NamedTuple):
    """A row of the history as it is stored."""

    number: int
    history_key: bytes
    ends_at: int | None
    sealed: bytes


class SealedEvents:
    """Reads rows of the history batch by batch, for a search: other threads may use the store between two batches."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest_first(self, conversation_ids: Sequence[UUID] = ()) -> Iterator[SealedEvent]:
        """The rows of these conversations, or of all."""
        keys = [history_key(self._store, each) for each in conversation_ids]
        if len(keys) < 2:
            return self._newest_first(keys[0] if keys else None)
        return merge(*map(self._newest_first, keys), key=lambda row: -row.number)

    def _newest_first(self, key: bytes | None) -> Iterator[SealedEvent]:
        number = _MAX_NUMBER
        while batch := self._read(_BATCH_BEFORE, key, number, _BATCH_ROWS):
            yield from batch
            number = batch[-1].number

    def before(self, row: SealedEvent, limit: int) -> Sequence[SealedEvent]:
        """The rows before this one in its conversation, the next one first."""
        return self._read(_BATCH_BEFORE, row.history_key, row.number, limit)

    def after(self, row: SealedEvent, limit: int) -> Sequence[SealedEvent]:
        """The rows after this one in its conversation, the next one first."""
        return self._read(_BATCH_AFTER, row.history_key, row.number, limit)

    def open(self, row: SealedEvent) -> bytes:
        """The packed event of a row."""
        return self._store.cipher.open(row.sealed, event_data(row.number, row.history_key))

    def event(self, row: SealedEvent) -> Event:
        """The event of a row."""
        return open_event(self._store, row.number, row.history_key, row.sealed)

    def _read(self, statements: tuple[str, str], key: bytes | None, number: int, limit: int) -> list[SealedEvent]:
        of_all, of_one = statements
        found = (
            self._store.execute(of_all, number, limit)
            if key is None
            else self._store.execute(of_one, key, number, limit)
        )
        return [SealedEvent(*each) for each in found]


def count_from(store: Store, conversation_id: UUID, number: int) -> int:
    """How many rows of the history of a conversation have this number or a higher one."""
    key = history_key(store, conversation_id)
    [(count,)] = store.execute("SELECT count(*) FROM event WHERE place = ? AND id >= ?", key, number)
    return int(count)
