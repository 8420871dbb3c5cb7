"""The journal: events in order, pending ones for the program and the history of each conversation behind them; and what is known of each content: its sender, whether it was read, and its receipts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.events import Event, Target, pack_event, unpack_event
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store


#: Days for which contents are recognized: longer than mail can wait on a node.
KNOWN_DAYS = 60
_ADD_ONCE_DAYS = 30
_EVENT = b"event"
#: `is_taken` of a dead letter.
_DEAD_LETTER = 2


@dataclass(frozen=True, slots=True)
class KnownContent:
    """A content that was seen: its conversation, time by its sender's clock, the sender's devices that sent it, and its number in the journal."""

    conversation_id: UUID
    at: int
    devices: tuple[int, ...]
    number: int
    timer_seconds: int | None = None


class Journal:
    """Reads and writes events, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, event: Event, *, is_handled: bool = False) -> int:
        """Store an event; a message belongs to the history of its conversation. `is_handled`: the program does not receive it. Returns its number."""
        conversation_id = event.history_conversation_id
        history_key = self._history_key(conversation_id) if conversation_id else None
        with self._store.transaction():
            number = self._next_number()
            sealed = self._store.cipher.seal(pack_event(event), event_data(number, history_key))
            statement = "INSERT INTO event (id, sealed, place, is_taken) VALUES (?, ?, ?, ?)"
            self._store.execute(statement, number, sealed, history_key, is_handled)
        if not is_handled:
            self._store.on_event_added()
        return number

    def add_once(self, event: Event, now: int) -> None:
        """Store an event about a forgery or change by the node, unless the same one was added within 30 days: the node could repeat it for ever."""
        packed = pack_event(event)
        name = sha256(packed).hexdigest()
        if self._store.get(kinds.ADDED_ONCE, name) is None:
            self._store.put(kinds.ADDED_ONCE, name, b"added", until=now + _ADD_ONCE_DAYS * DAY_MS)
            self.add(event)

    def next_event(self) -> Event | None:
        """The oldest event that was not handled."""
        found = self._store.execute("SELECT id, place, sealed FROM event WHERE is_taken = 0 ORDER BY id LIMIT 1")
        return open_event(self._store, *found[0]) if found else None

    def mark_handled(self, number: int) -> None:
        """The program has handled the event, unless it became a dead letter meanwhile: only messages are kept, as history."""
        with self._store.transaction():
            self._store.execute("UPDATE event SET is_taken = 1 WHERE id = ? AND is_taken = 0", number)
            self._store.execute("DELETE FROM event WHERE id = ? AND is_taken = 1 AND place IS NULL", number)

    def history(self, conversation_id: UUID, limit: int, earlier: Sequence[UUID] = ()) -> list[Event]:
        """The newest `limit` events of a conversation, oldest first; behind them those of `earlier` conversations."""
        found: list[tuple[Any, ...]] = []
        for each in (conversation_id, *earlier):
            found += self._store.execute(
                "SELECT id, place, sealed FROM event WHERE place = ? ORDER BY id DESC LIMIT ?",
                self._history_key(each),
                limit - len(found),
            )
        return [open_event(self._store, *each) for each in sorted(found, key=lambda row: int(row[0]))]

    def find_content(self, content_id: UUID, sender_id: UUID) -> KnownContent | None:
        """The record of a content, if it was seen."""
        packed = self._store.get(kinds.KNOWN_CONTENT, f"{content_id}/{sender_id}")
        return unpack(KnownContent, packed) if packed else None

    def remember_content(self, content_id: UUID, sender_id: UUID, known: KnownContent, now: int) -> None:
        """Recognize the content when it arrives again."""
        before = self.find_content(content_id, sender_id)
        devices = known.devices if before is None else (*before.devices, *known.devices)
        merged = replace(before or known, devices=devices)
        self._store.put(kinds.KNOWN_CONTENT, f"{content_id}/{sender_id}", pack(merged), until=now + KNOWN_DAYS * DAY_MS)

    def forget_content(self, content_id: UUID, sender_id: UUID, number: int) -> None:
        """The content with this number was removed: nothing is known of it, unless another event has its id."""
        known = self.find_content(content_id, sender_id)
        if known is not None and known.number == number:
            name = f"{content_id}/{sender_id}"
            self._store.put(kinds.KNOWN_CONTENT, name, None)
            self._store.put(kinds.READ, name, None)
            self._store.put(kinds.RECEIPTS, str(content_id), None)

    def set_expiry(self, number: int, at: int) -> None:
        """The event disappears at this moment (ms since 1970), or at an earlier one that was set before."""
        self._store.execute("UPDATE event SET ends_at = ? WHERE id = ? AND ifnull(ends_at, ?) >= ?", at, number, at, at)

    def _next_number(self) -> int:
        """The number of the next event: never used before, as AUTOINCREMENT guarantees, and known before the event is sealed with it."""
        found = self._store.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'")
        return int(found[0][0]) + 1 if found else 1

    def _history_key(self, conversation_id: UUID) -> bytes:
        return history_key(self._store, conversation_id)


class DeadLetterEvents:
    """Dead letters (`api/handler_loop.py`): neither pending nor handled."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Event]:
        """Oldest first."""
        found = self._store.execute("SELECT id, place, sealed FROM event WHERE is_taken = ? ORDER BY id", _DEAD_LETTER)
        return [open_event(self._store, *each) for each in found]

    def set_dead(self, number: int, *, is_dead: bool) -> bool:
        """Turn a pending event into a dead letter or back; returns whether it was there."""
        before, after = (0, _DEAD_LETTER) if is_dead else (_DEAD_LETTER, 0)
        with self._store.transaction():
            is_found = bool(self._store.execute("SELECT 1 FROM event WHERE id = ? AND is_taken = ?", number, before))
            self._store.execute("UPDATE event SET is_taken = ? WHERE id = ? AND is_taken = ?", after, number, before)
        return is_found


def newest_number(store: Store, conversation_id: UUID) -> int:
    """The number of the newest message of a conversation; 0 without one."""
    [(number,)] = store.execute("SELECT max(id) FROM event WHERE place = ?", history_key(store, conversation_id))
    return int(number or 0)


def history_key(store: Store, conversation_id: UUID) -> bytes:
    """Names the history of a conversation in the file."""
    return store.cipher.row_name("history", str(conversation_id))


def open_event(store: Store, number: int, history_key: bytes | None, sealed: bytes) -> Event:
    """The event of a row."""
    return replace(unpack_event(store.cipher.open(sealed, event_data(number, history_key))), number=number)


def event_data(number: int, history_key: bytes | None) -> bytes:
    """The associated data of an event: its number and conversation, so that it opens in no other row. Its length differs from that of a value's row name."""
    return _EVENT + number.to_bytes(8, signed=True) + (history_key or b"")


#: In order: a later state includes the earlier ones.
_RECEIPT_STATES: Final = ("delivered", "read", "viewed")


class ReadReceipts:
    """Reads and writes receipts, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def mark_read(self, target: Target, now: int) -> bool:
        """Record that a content was read; returns whether that is new."""
        if self.is_read(target):
            return False
        self._store.put(kinds.READ, _target_key(target), b"read", until=now + KNOWN_DAYS * DAY_MS)
        return True

    def is_read(self, target: Target) -> bool:
        """Whether the content was read on an own device."""
        return self._store.get(kinds.READ, _target_key(target)) is not None

    def record_receipt(self, content_id: UUID, person: UUID, state: str, now: int) -> None:
        """Record a receipt; one with an earlier state than the stored one changes nothing."""
        states = dict(self.receipts(content_id))
        if person in states and _RECEIPT_STATES.index(states[person]) >= _RECEIPT_STATES.index(state):
            return
        states[person] = state
        self._store.put(kinds.RECEIPTS, str(content_id), pack(states), until=now + KNOWN_DAYS * DAY_MS)

    def receipts(self, content_id: UUID) -> Mapping[UUID, str]:
        """By account: delivered, read or viewed."""
        packed = self._store.get(kinds.RECEIPTS, str(content_id))
        return unpack(dict[UUID, str], packed) if packed else {}


def _target_key(target: Target) -> str:
    return f"{target.id}/{target.sender_id}"
