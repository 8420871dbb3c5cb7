"""Exports the history of a store as an archive: frame by frame, so that the memory it takes does not grow with the history."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final
from uuid import UUID

from vyry.client.crypto.identity_decisions import IdentityDecisions
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import known_identities
from vyry.client.history.entries import to_entry, with_state
from vyry.client.history.frames import (
    MAX_NAMES,
    AccountFrame,
    Contact,
    Contacts,
    ConversationsFrame,
    End,
    Entry,
    FilePart,
    Frame,
    Header,
    MessagesFrame,
    Settings,
    pack_frame,
)
from vyry.client.history.reading import FrameOrder
from vyry.client.history.sealing import FrameSealer
from vyry.client.store import kinds
from vyry.client.store.archived_conversations import ArchivedConversation, ArchivedConversations
from vyry.client.store.conversation_pins import ConversationPins
from vyry.client.store.events import ContentEvent, Event
from vyry.client.store.history_rows import HistoryRows, StoredRow
from vyry.client.store.journal import ReadReceipts
from vyry.client.store.remembered_names import RememberedNames
from vyry.client.store.store import Store
from vyry.kernel.batches import batched
from vyry.signal_protocol.pins import MAX_MEMBERS


#: Contacts and conversations of a frame; rows read at once; bytes of contents after which a frame ends.
_ITEMS: Final = 200
_ROWS: Final = 200
_FRAME_BYTES: Final = 65_536
#: Frames sealed between two turns of the event loop.
_FRAMES_PER_TURN: Final = 4

#: Receives the events exported and all events.
Progress = Callable[[int, int], None]
#: Each file that goes into an archive, in parts.
Files = Callable[[], Iterator[FilePart]]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What goes into an archive. `since`: contents from this moment on (ms since 1970, by the sender's clock); `with_disappearing`: also messages that disappear, which a backup would keep beyond their end; `files`: sealed files."""

    purpose: str = "backup"
    since: int | None = None
    with_disappearing: bool = False
    files: Files | None = None


DEFAULT_OPTIONS: Final = ExportOptions()


class HistoryExport:
    """One archive: iterate over it for its bytes."""

    def __init__(self, store: Store, key: bytes, now: int, options: ExportOptions = DEFAULT_OPTIONS) -> None:
        self._store = store
        self._now = now
        self._options = options
        self._sealer = FrameSealer(key)
        self._order = FrameOrder()
        self._rows = HistoryRows(store)
        self._receipts = ReadReceipts(store)
        #: Events read so far, and all of them; those that no archive holds.
        self.done = self.total = self.left_out = 0
        #: The counts, once the last frame was made.
        self.end: End | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes of the archive. The store is read in a thread, a few frames at a time: other transactions run in between."""
        yield self._sealer.prefix
        frames = self._frames()
        while some := await asyncio.to_thread(self._seal_some, frames):
            yield some

    def sealed(self) -> Iterator[bytes]:
        """The same, without an event loop."""
        frames = self._frames()
        return chain((self._sealer.prefix,), iter(lambda: self._seal_some(frames), b""))

    def _seal_some(self, frames: Iterator[Frame]) -> bytes:
        sealed = []
        for frame in frames:
            packed, is_last = pack_frame(frame), isinstance(frame, End)
            self._order.add(frame, packed, is_last=is_last)
            sealed.append(self._sealer.seal(packed, is_last=is_last))
            if len(sealed) == _FRAMES_PER_TURN:
                break
        return b"".join(sealed)

    def _frames(self) -> Iterator[Frame]:
        me = LocalDevice.load(self._store)
        through = self._rows.newest()
        self.total = self._rows.count(through)
        yield Header(self._now, self._options.purpose, self._options.since, self._options.files is not None)
        yield AccountFrame(me.user_id)
        for contacts in batched(list(self._contacts(me.user_id)), _ITEMS):
            yield Contacts(tuple(contacts))
        places = list(self._rows.conversations())
        known = self._conversations(places)
        for conversations in batched(known, _ITEMS):
            yield ConversationsFrame(tuple(conversations))
        for conversation_id in places:
            yield from self._messages(conversation_id, through)
        if self._options.files is not None:
            yield from self._options.files()
        timers = self._timers([each.conversation_id for each in known])
        for some in batched(list(timers.items()), _ITEMS):
            yield Settings(dict(some))
        self.end = self._order.end()
        yield self.end

    def _contacts(self, me: UUID) -> Iterator[Contact]:
        """Everyone with a name or an identity key."""
        names, decisions = RememberedNames(self._store), IdentityDecisions(self._store)
        people = dict.fromkeys(user_id for user_id, _ in known_identities(self._store))
        people |= dict.fromkeys(each.user_id for each in names.all())
        for user_id in people:
            if user_id == me:
                continue
            pin = decisions.current_pin(user_id)
            yield Contact(
                user_id,
                names.of(user_id)[-MAX_NAMES:],
                pin.identity_key if pin else None,
                is_verified=pin is not None and pin.is_verified,
                decided_at=pin.at if pin else 0,
                profile_key=self._store.get(kinds.PROFILE_KEY, str(user_id)),
            )

    def _conversations(self, places: Sequence[UUID]) -> Sequence[ArchivedConversation]:
        """Every conversation that is pinned, was restored, or has a history."""
        archived = ArchivedConversations(self._store)
        found = {each.conversation_id: each for each in archived.all()}
        for conversation_id, pin in ConversationPins(self._store).all():
            kind = "group" if pin.is_group else "direct"
            members = tuple(sorted(pin.members))[:MAX_MEMBERS]
            title = archived.title(conversation_id)
            found[conversation_id] = ArchivedConversation(conversation_id, kind, pin.peer, members, title)
        for conversation_id in places:
            found.setdefault(conversation_id, ArchivedConversation(conversation_id, "unknown"))
        return list(found.values())

    def _messages(self, conversation_id: UUID, through: int) -> Iterator[MessagesFrame]:
        entries: list[Entry] = []
        size, is_within = 0, self._options.since is None
        for row in self._rows.read(conversation_id, through, _ROWS):
            self.done += 1
            is_within = is_within or self._is_since(row.event)
            entry = self._entry(row) if is_within and self._is_kept(row) else None
            if entry is None:
                self.left_out += 1
                continue
            entries.append(entry)
            size += len(entry.content)
            if size >= _FRAME_BYTES or len(entries) >= _ROWS:
                yield MessagesFrame(conversation_id, tuple(entries))
                entries, size = [], 0
        if entries:
            yield MessagesFrame(conversation_id, tuple(entries))

    def _is_since(self, event: Event) -> bool:
        """Whether the event is in the days that were asked for. From the first such event of a conversation on everything is."""
        since = self._options.since
        return since is None or (isinstance(event, ContentEvent) and event.at >= since)

    def _is_kept(self, row: StoredRow) -> bool:
        timer = getattr(row.event, "timer_seconds", None)
        if not self._options.with_disappearing and (row.ends_at is not None or timer):
            return False
        return row.ends_at is None or row.ends_at > self._now

    def _entry(self, row: StoredRow) -> Entry | None:
        entry = to_entry(row.event)
        if entry is None or not isinstance(row.event, ContentEvent):
            return entry
        event = row.event
        is_read = not event.is_own and self._receipts.is_read(event.target)
        receipts = self._receipts.receipts(event.id) if event.is_own else {}
        return with_state(entry, is_read=is_read, receipts=receipts, ends_at=row.ends_at)

    def _timers(self, conversations: Sequence[UUID]) -> Mapping[UUID, int]:
        found = ((each, self._store.get(kinds.TIMER, str(each))) for each in conversations)
        return {each: int(seconds) for each, seconds in found if seconds}
