"""Imports an archive into a store, a frame in each transaction: after a crash it goes on behind the last one, and until its end it can be dropped whole.

Messages are added as they are read. Contacts, conversations and settings are merged in the last transaction; what the store has itself is never replaced.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import Final
from uuid import UUID

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.pin_registry import PinRegistry
from vyry.client.history.entries import to_event
from vyry.client.history.errors import ImportPending
from vyry.client.history.frames import Contact, Contacts, ConversationsFrame, Entry, MessagesFrame, Settings
from vyry.client.history.reading import START, ArchiveReader, Position, Progress, ReadFrame, Summary
from vyry.client.store import kinds
from vyry.client.store.archived_conversations import ArchivedConversation, ArchivedConversations
from vyry.client.store.events import ContentEvent, Event, MemberAdded, Unreadable
from vyry.client.store.history_rows import BEFORE_ALL, HistoryRows
from vyry.client.store.journal import Journal, KnownContent, ReadReceipts
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.signal_protocol.pins import DirectPin, GroupPin, IdentityPin, NamePin, Pin, PinSet


#: Rows read at once.
_ROWS: Final = 500
#: Frames in a transaction: each of them waits for the disk.
_FRAMES: Final = 4
_NO_CONTENT: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class ImportState:
    """An import that is not finished: the archive, the place behind the last imported frame, and how many events were added and were there before.

    `conversation_id`, `number`, `content_id`: of the last imported event. `settings`: where the settings begin, once that is known.
    """

    archive_id: bytes
    account_id: UUID
    position: Position = START
    added: int = 0
    known: int = 0
    conversation_id: UUID | None = None
    number: int = BEFORE_ALL
    content_id: UUID = _NO_CONTENT
    settings: Position | None = None


class HistoryImport:
    """Imports one archive whose every frame was verified before (`ArchiveReader.verify`)."""

    def __init__(self, store: Store, reader: ArchiveReader, summary: Summary) -> None:
        """Raises NotRegistered, and ImportPending when another archive is half imported."""
        self._store = store
        self._reader = reader
        self._summary = summary
        self._me = LocalDevice.load(store).user_id
        self._rows = HistoryRows(store)
        self._journal = Journal(store)
        self._receipts = ReadReceipts(store)
        #: What a conversation had before: a hash each.
        self._there: set[bytes] = set()
        self._there_in: UUID | None = None
        state = pending_import(store)
        if state is not None and state.archive_id != summary.archive_id:
            raise ImportPending
        self.state = state or ImportState(summary.archive_id, summary.account_id)

    def steps(self, now: int) -> Generator[int, None, None]:
        """Import the next few frames each time; yields how many bytes of the archive are done. The last step ends the import."""
        frames = self._reader.frames(self.state.position)
        while some := tuple(islice(frames, _FRAMES)):
            before = self.state
            try:
                with self._store.transaction():
                    self._import_frames(some, now)
            except BaseException:
                self.state, self._there_in = before, None
                raise
            yield self.state.position.offset

    def _import_frames(self, frames: Iterable[ReadFrame], now: int) -> None:
        for frame, _, is_last, position in frames:
            if isinstance(frame, MessagesFrame):
                self.state = self._add(frame, position.number, now)
            elif isinstance(frame, Settings) and self.state.settings is None:
                self.state = replace(self.state, settings=self.state.position)
            self.state = replace(self.state, position=position)
            if is_last:
                self._finish(now)
                return
        self._store.put(kinds.HISTORY_IMPORT, "", pack(self.state))

    def run(self, now: int, progress: Progress | None = None, total: int = 0) -> ImportState:
        """Import the rest, without an event loop."""
        for done in self.steps(now):
            if progress is not None:
                progress(done, total)
        return self.state

    def _add(self, frame: MessagesFrame, step: int, now: int) -> ImportState:
        """Add the events of a frame that the store does not have."""
        state, numbers, known = self.state, [], 0
        if frame.conversation_id != state.conversation_id:
            state = replace(state, conversation_id=frame.conversation_id, number=BEFORE_ALL, content_id=_NO_CONTENT)
        number, content_id = state.number, state.content_id
        self._load_there(frame.conversation_id)
        for entry in frame.entries:
            event = to_event(entry, frame.conversation_id, self._summary.account_id)
            if isinstance(event, ContentEvent):
                content_id = event.id
            if self._is_there(event, content_id):
                known += 1
            elif entry.ends_at is None or entry.ends_at > now:
                at = min(event.at if isinstance(event, ContentEvent) else 0, self._summary.header.created_at)
                number = self._rows.free_number(at, number)
                self._rows.add(event, frame.conversation_id, number, entry.ends_at)
                self._remember(event, entry, number, now)
                numbers.append(number)
        if numbers:
            self._store.put(kinds.HISTORY_IMPORTED, str(step), pack(tuple(numbers)))
        added, known = state.added + len(numbers), state.known + known
        return replace(state, number=number, content_id=content_id, added=added, known=known)

    def _load_there(self, conversation_id: UUID) -> None:
        """What the conversation has now, when its first frame is imported or the import goes on."""
        if self._there_in == conversation_id:
            return
        self._there, self._there_in = set(), conversation_id
        content_id = _NO_CONTENT
        for row in self._rows.read(conversation_id, self._rows.newest(), _ROWS):
            if isinstance(row.event, ContentEvent):
                content_id = row.event.id
            self._there.add(_event_hash(row.event, content_id))

    def _is_there(self, event: Event, content_id: UUID) -> bool:
        """Whether the store has the event: from before, from an earlier frame, or received meanwhile."""
        name = _event_hash(event, content_id)
        if name in self._there:
            return True
        self._there.add(name)
        if not isinstance(event, ContentEvent):
            return False
        known = self._journal.find_content(event.id, event.sender_id)
        return known is not None and event.sender_device_id in known.devices

    def _remember(self, event: Event, entry: Entry, number: int, now: int) -> None:
        """The content is recognized when it arrives again; its state is that of the archive, unless the store knows more."""
        if not isinstance(event, ContentEvent):
            return
        timer = getattr(event, "timer_seconds", None)
        known = KnownContent(event.conversation_id, event.at, (event.sender_device_id,), number, timer)
        self._journal.remember_content(event.id, event.sender_id, known, now)
        if entry.is_read:
            self._receipts.mark_read(event.target, now)
        for person, state in entry.receipts.items():
            self._receipts.record_receipt(event.id, person, state, now)

    def _finish(self, now: int) -> None:
        """Merge contacts, conversations and settings; afterwards nothing is pending."""
        for frame, _, _, _ in self._reader.frames():
            if isinstance(frame, MessagesFrame):
                break
            match frame:
                case Contacts(contacts=contacts):
                    self._merge_contacts(contacts, now)
                case ConversationsFrame(conversations=some):
                    self._merge_conversations(some, now)
                case _:
                    continue
        if self.state.settings is not None and self._is_same_account:
            for frame, _, _, _ in self._reader.frames(self.state.settings):
                if isinstance(frame, Settings):
                    self._merge_settings(frame)
        _forget(self._store)

    @property
    def _is_same_account(self) -> bool:
        return self._summary.account_id == self._me

    def _merge_contacts(self, contacts: Sequence[Contact], now: int) -> None:
        pins: list[Pin] = []
        for each in contacts:
            if each.user_id == self._me:
                continue
            pins += [NamePin(name, each.user_id) for name in each.names]
            if each.identity_key is not None:
                pins.append(IdentityPin(each.user_id, each.identity_key, each.is_verified, each.decided_at))
            if each.profile_key is not None and self._store.get(kinds.PROFILE_KEY, str(each.user_id)) is None:
                self._store.put(kinds.PROFILE_KEY, str(each.user_id), each.profile_key)
        PinRegistry(self._store).merge(PinSet.from_pins(pins), now)

    def _merge_conversations(self, conversations: Sequence[ArchivedConversation], now: int) -> None:
        """In the same account the conversations are pinned as they were. Another account is no member: they are kept to be read."""
        archived = ArchivedConversations(self._store)
        pins: list[Pin] = []
        for each in conversations:
            if each.kind == "group":
                pins.append(GroupPin(each.conversation_id, each.members))
            elif each.peer is not None:
                pins.append(DirectPin(each.conversation_id, each.peer))
            if not self._is_same_account or each.kind == "group":
                archived.save(each)
        if self._is_same_account:
            PinRegistry(self._store).merge(PinSet.from_pins(pins), now)

    def _merge_settings(self, settings: Settings) -> None:
        for conversation_id, seconds in settings.timers.items():
            if self._store.get(kinds.TIMER, str(conversation_id)) is None:
                self._store.put(kinds.TIMER, str(conversation_id), str(seconds).encode())


def pending_import(store: Store) -> ImportState | None:
    """The import that is not finished."""
    packed = store.get(kinds.HISTORY_IMPORT)
    return unpack(ImportState, packed) if packed else None


def drop_import(store: Store) -> int:
    """Remove every event of the import that is not finished. Returns how many there were; after a crash call it again."""
    rows, journal, dropped = HistoryRows(store), Journal(store), 0
    if pending_import(store) is None:
        return 0
    for packed in store.all(kinds.HISTORY_IMPORTED):
        with store.transaction():
            for number in unpack(tuple[int, ...], packed):
                event = rows.find(number)
                dropped += event is not None
                rows.delete(number)
                if isinstance(event, ContentEvent):
                    journal.forget_content(event.id, event.sender_id, number)
    with store.transaction():
        _forget(store)
    store.truncate_wal()
    return dropped


def _forget(store: Store) -> None:
    store.execute("DELETE FROM value WHERE kind = ?", kinds.HISTORY_IMPORTED)
    store.put(kinds.HISTORY_IMPORT, "", None)


def _event_hash(event: Event, content_id: UUID) -> bytes:
    """What makes an event the same one; those without an id are named by the content before them."""
    match event:
        case ContentEvent():
            parts: tuple[object, ...] = (event.id, event.sender_id, event.sender_device_id)
        case Unreadable():
            parts = ("unreadable", event.message_id, event.sender_id, event.sender_device_id)
        case MemberAdded():
            parts = ("memberAdded", event.user_id, content_id)
        case _:
            parts = (event.name, event.number)
    return sha256(repr(parts).encode()).digest()[:16]
