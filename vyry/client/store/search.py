"""Searches the messages of the store. Rows are decrypted one batch after the other, newest first, and compared in memory: there is no index, so a search leaves nothing on the disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final
from uuid import UUID

from vyry.client.store.events import Edit, Message, Target, Unsend
from vyry.client.store.packing import unpack_plain
from vyry.client.store.sealed_events import SealedEvent, SealedEvents
from vyry.client.store.store import Store
from vyry.kernel.search_text import fold


#: Rows before or after a message among which its context is looked for.
_CONTEXT_ROWS: Final = 50
#: A message in one conversation: the id of the conversation, of the message, of its sender.
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message that was found, with the text of its latest edit, and the messages around it in its conversation, oldest first."""

    message: Message
    is_edited: bool
    before: tuple[Message, ...] = ()
    after: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is searched for: folded words that a message all has, in these conversations or all, sent at `since` (ms) or later. `now`: messages that expired before are ignored."""

    words: Sequence[str]
    now: int
    conversation_ids: Sequence[UUID] = ()
    since: int | None = None

    def matches(self, at: int, text: str, fields: dict[str, Any]) -> bool:
        """Whether a message was sent in time and has all words, in its text or the names of its files."""
        if self.since is not None and at < self.since:
            return False
        files = [each["file_name"] for each in fields["attachments"] if each["file_name"]]
        found = fold("\n".join((text, *files)) if files else text)
        return all(word in found for word in self.words)


@dataclass
class MessageScan:
    """One search. Changes of a message have a higher number than the message: read from the newest row on, they are known before it."""

    store: Store
    query: SearchQuery
    #: The new text of each message that was edited; None: it was unsent.
    _changes: dict[_Key, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rows = SealedEvents(self.store)

    def hits(self, limit: int, context: int) -> list[SearchHit]:
        """The newest messages that match, newest first, each with `context` messages before and after it."""
        found = list(islice(self._matching(), limit))
        return [self._with_context(row, context) for row in found]

    def _matching(self) -> Iterator[SealedEvent]:
        query = self.query
        for row in self._rows.newest_first(query.conversation_ids):
            fields = self._read_message(row)
            if fields is None:
                continue
            text = self._changes.get(_key(fields, fields), fields["text"])
            if text is not None and query.matches(fields["at"], text, fields):
                yield row

    def _read_message(self, row: SealedEvent) -> dict[str, Any] | None:
        """The fields of a message that has not expired; None for another row. A change is remembered."""
        name, fields = _unpack_fields(self._rows.open(row))
        if name == Unsend.name:
            self._changes[_key(fields, fields["of"])] = None
        elif name == Edit.name:
            self._changes.setdefault(_key(fields, fields["of"]), fields["text"])
        is_expired = row.ends_at is not None and row.ends_at <= self.query.now
        return fields if name == Message.name and not is_expired else None

    def _with_context(self, row: SealedEvent, context: int) -> SearchHit:
        message, is_edited = self._shown(row)
        # Of the rows before it, changes come first again.
        before = self._context(self._rows.before(row, _CONTEXT_ROWS), context)
        after = self._context(self._rows.after(row, _CONTEXT_ROWS), context)
        return SearchHit(message, is_edited, tuple(reversed(before)), tuple(after))

    def _context(self, rows: Sequence[SealedEvent], context: int) -> list[Message]:
        messages = (row for row in rows if self._is_shown(row))
        return [self._shown(row)[0] for row in islice(messages, context)]

    def _is_shown(self, row: SealedEvent) -> bool:
        fields = self._read_message(row)
        return fields is not None and self._changes.get(_key(fields, fields), "") is not None

    def _shown(self, row: SealedEvent) -> tuple[Message, bool]:
        """The message of a row with its latest text, and whether that is an edit."""
        message = self._rows.event(row)
        assert isinstance(message, Message)
        text = self._changes.get(_event_key(message.conversation_id, message.target))
        return (message, False) if text is None else (replace(message, text=text), True)


def _key(fields: dict[str, Any], target: dict[str, Any]) -> _Key:
    return fields["conversation_id"], target["id"], target["sender_id"]


def _event_key(conversation_id: UUID, target: Target) -> _Key:
    return str(conversation_id), str(target.id), str(target.sender_id)


def _unpack_fields(packed: bytes) -> tuple[str, dict[str, Any]]:
    """The name and the stored fields of a packed event, not validated and with ids as text: ten times as fast as `unpack_event`."""
    name, packed_fields = unpack_plain(packed)
    return name, unpack_plain(packed_fields)
