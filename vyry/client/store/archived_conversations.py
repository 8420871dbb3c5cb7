"""Conversations as a restored archive named them, and titles as they were last read: they are shown where the node does not know the conversation, or its key has not arrived."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store


@dataclass(frozen=True, slots=True)
class ArchivedConversation:
    """A conversation: the other account of a direct one, the members and title of a group. `kind`: direct, group or unknown."""

    conversation_id: UUID
    kind: str
    peer: UUID | None = None
    members: tuple[UUID, ...] = ()
    title: str | None = None


class ArchivedConversations:
    """Reads and writes them, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> Sequence[ArchivedConversation]:
        """Every restored conversation."""
        return [unpack(ArchivedConversation, packed) for packed in self._store.all(kinds.ARCHIVED_CONVERSATION)]

    def get(self, conversation_id: UUID) -> ArchivedConversation | None:
        """A restored conversation."""
        packed = self._store.get(kinds.ARCHIVED_CONVERSATION, str(conversation_id))
        return unpack(ArchivedConversation, packed) if packed else None

    def directs_with(self, user_id: UUID) -> tuple[UUID, ...]:
        """The restored direct conversations with an account, newest restore first."""
        packed = self._store.get(kinds.ARCHIVED_DIRECTS, str(user_id))
        return unpack(tuple[UUID, ...], packed) if packed else ()

    def save(self, conversation: ArchivedConversation) -> None:
        """Store a restored conversation."""
        conversation_id = conversation.conversation_id
        self._store.put(kinds.ARCHIVED_CONVERSATION, str(conversation_id), pack(conversation))
        if conversation.peer is not None:
            before = self.directs_with(conversation.peer)
            directs = tuple(dict.fromkeys((conversation_id, *before)))
            self._store.put(kinds.ARCHIVED_DIRECTS, str(conversation.peer), pack(directs))

    def title(self, conversation_id: UUID) -> str | None:
        """The title last read, else the restored one."""
        packed = self._store.get(kinds.CONVERSATION_TITLE, str(conversation_id))
        if packed is not None:
            return packed.decode()
        archived = self.get(conversation_id)
        return None if archived is None else archived.title

    def save_title(self, conversation_id: UUID, title: str) -> None:
        """Remember a title that was read."""
        if self._store.get(kinds.CONVERSATION_TITLE, str(conversation_id)) != title.encode():
            self._store.put(kinds.CONVERSATION_TITLE, str(conversation_id), title.encode())
