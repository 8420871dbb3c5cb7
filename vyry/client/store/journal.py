"""What happened, oldest first: events that wait for somebody who asks, and the history of each conversation behind them."""

from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.events import Event, pack_event, unpack_event
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store


#: Contents are known again for so long: longer than mail can wait on a node.
KNOWN_DAYS = 60
_TOLD_DAYS = 30
_EVENT = b"event"
#: `is_taken` of an event that a handler was not done with.
_ASIDE = 2


@dataclass(frozen=True, slots=True)
class KnownContent:
    """A content that was said: where, when by its sender's clock, by which devices of that person, and its number in the journal."""

    conversation_id: UUID
    at: int
    devices: tuple[int, ...]
    number: int
    timer_seconds: int | None = None


class Journal:
    """Reads and writes it, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, event: Event, *, is_handled: bool = False) -> int:
        """Keep an event; what was said belongs to the history of its conversation. `is_taken`: nobody has to be told."""
        conversation_id = event.history_conversation_id
        place = self._history_key(conversation_id) if conversation_id else None
        with self._store.transaction():
            number = self._next_number()
            sealed = self._store.cipher.seal(pack_event(event), _associated_data(number, place))
            statement = "INSERT INTO event (id, sealed, place, is_taken) VALUES (?, ?, ?, ?)"
            self._store.execute(statement, number, sealed, place, is_handled)
        if not is_handled:
            self._store.on_event_added()
        return number

    def add_once(self, event: Event, now: int) -> None:
        """Keep an event about a lie or a change of the node, unless the very same was added within 30 days: the node could repeat it for ever."""
        written = pack_event(event)
        name = sha256(written).hexdigest()
        if self._store.get(kinds.ADDED_ONCE, name) is None:
            self._store.put(kinds.ADDED_ONCE, name, b"added", until=now + _TOLD_DAYS * DAY_MS)
            self.add(event)

    def next_event(self) -> Event | None:
        """The oldest event nobody has taken yet."""
        found = self._store.execute("SELECT id, place, sealed FROM event WHERE is_taken = 0 ORDER BY id LIMIT 1")
        return _open_event(self._store, *found[0]) if found else None

    def mark_handled(self, number: int) -> None:
        """Whoever asked for the event is done with it, unless it was put aside meanwhile: only what was said is kept on."""
        with self._store.transaction():
            self._store.execute("UPDATE event SET is_taken = 1 WHERE id = ? AND is_taken = 0", number)
            self._store.execute("DELETE FROM event WHERE id = ? AND is_taken = 1 AND place IS NULL", number)

    def history(self, conversation_id: UUID, limit: int) -> list[Event]:
        """The newest so many of a conversation, the oldest of them first."""
        found = self._store.execute(
            "SELECT id, place, sealed FROM event WHERE place = ? ORDER BY id DESC LIMIT ?",
            self._history_key(conversation_id),
            limit,
        )
        return [_open_event(self._store, *each) for each in reversed(found)]

    def find_content(self, content_id: UUID, sender_id: UUID) -> KnownContent | None:
        """What is known of a content, if it was said."""
        kept = self._store.get(kinds.KNOWN_CONTENT, f"{content_id}/{sender_id}")
        return unpack(KnownContent, kept) if kept else None

    def remember_content(self, content_id: UUID, sender_id: UUID, known: KnownContent, now: int) -> None:
        """Know it again, whoever brings it once more."""
        before = self.find_content(content_id, sender_id)
        devices = known.devices if before is None else (*before.devices, *known.devices)
        told = replace(before or known, devices=devices)
        self._store.put(kinds.KNOWN_CONTENT, f"{content_id}/{sender_id}", pack(told), until=now + KNOWN_DAYS * DAY_MS)

    def set_expiry(self, number: int, at: int) -> None:
        """It disappears at this moment (ms since 1970), or earlier if that was said before."""
        self._store.execute("UPDATE event SET ends_at = ? WHERE id = ? AND ifnull(ends_at, ?) >= ?", at, number, at, at)

    def _next_number(self) -> int:
        """The number of the next event: one that no event had, as AUTOINCREMENT promises, and known before the event is sealed to it."""
        found = self._store.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'")
        return int(found[0][0]) + 1 if found else 1

    def _history_key(self, conversation_id: UUID) -> bytes:
        return _history_key(self._store, conversation_id)


class DeadLetterEvents:
    """Events that a handler was not done with (`handling.py`): they wait no more, and are not taken."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Event]:
        """The oldest first."""
        found = self._store.execute("SELECT id, place, sealed FROM event WHERE is_taken = ? ORDER BY id", _ASIDE)
        return [_open_event(self._store, *each) for each in found]

    def set_dead(self, number: int, *, is_dead: bool) -> bool:
        """Put a waiting event aside, or have one of those wait again; says whether it was there."""
        before, after = (0, _ASIDE) if is_dead else (_ASIDE, 0)
        with self._store.transaction():
            is_there = bool(self._store.execute("SELECT 1 FROM event WHERE id = ? AND is_taken = ?", number, before))
            self._store.execute("UPDATE event SET is_taken = ? WHERE id = ? AND is_taken = ?", after, number, before)
        return is_there


def newest_number(store: Store, conversation_id: UUID) -> int:
    """The number of what was said last in a conversation; 0 when nothing was."""
    [(number,)] = store.execute("SELECT max(id) FROM event WHERE place = ?", _history_key(store, conversation_id))
    return int(number or 0)


def _history_key(store: Store, conversation_id: UUID) -> bytes:
    return store.cipher.row_name("history", str(conversation_id))


def _open_event(store: Store, number: int, place: bytes | None, sealed: bytes) -> Event:
    return replace(unpack_event(store.cipher.open(sealed, _associated_data(number, place))), number=number)


def _associated_data(number: int, place: bytes | None) -> bytes:
    """What an event is sealed to: its number and its conversation, so that it opens in no other row. Longer or shorter than the place of a value."""
    return _EVENT + number.to_bytes(8) + (place or b"")
