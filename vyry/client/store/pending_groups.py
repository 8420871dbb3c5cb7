"""Groups that the node was asked to make, until its answer is safe here: asked again after a kill, no second one is made."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from vyry.client.errors import NothingToSee, TextTooLong
from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.kernel.display_text import InvalidText, clean_line, validate_line
from vyry.signal_protocol.blobs import BlobKind, seal_blob
from vyry.signal_protocol.primitives import KEY_BYTES


MAX_TITLE: Final = 1_000


@dataclass(frozen=True, slots=True)
class PendingGroup:
    """A group that the node was, or was about to be, asked to make: known again by what was sealed for it."""

    members: tuple[UUID, ...]
    title: str
    key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    id: UUID | None = None

    @property
    def request_key(self) -> str:
        """See `wish`."""
        return group_request_key(self.members, self.title, self.id)


class PendingGroups:
    """Reads and writes them, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, members: Collection[UUID], title: str, id: UUID | None = None) -> tuple[PendingGroup, bool]:
        """What a new group is made with, kept before the node hears of it; and whether it was begun before. Raises TextTooLong, NothingToSee."""
        key = secrets.token_bytes(KEY_BYTES)
        begun = PendingGroup(
            tuple(members), title, key, seal_blob(key, BlobKind.GROUP_INFO, {"title": checked_title(title)}), id
        )
        before = self._store.get(kinds.PENDING_GROUP, begun.request_key)
        if before is not None:
            return unpack(PendingGroup, before), True
        self._store.put(kinds.PENDING_GROUP, begun.request_key, pack(begun))
        return begun, False

    def delete(self, begun: PendingGroup) -> None:
        """It never will be."""
        self._store.put(kinds.PENDING_GROUP, begun.request_key, None)

    def complete(self, begun: PendingGroup, conversation_id: UUID) -> None:
        """It is there; whoever asks for it once more gets this one (`made`)."""
        self.delete(begun)
        self._store.put(kinds.CREATED_GROUP, begun.request_key, conversation_id.bytes)

    def find_created(self, name: str) -> UUID | None:
        """The group that a wish was made into, as long as that is kept: under an id for ever, else while nobody has had the answer (`answered`)."""
        kept = self._store.get(kinds.CREATED_GROUP, name)
        return UUID(bytes=kept) if kept is not None else None

    def delete_created(self, name: str) -> None:
        """Whoever asked for it without an id has it: the same wish is another group from now on."""
        self._store.put(kinds.CREATED_GROUP, name, None)

    def find_by_sealed(self, sealed: bytes) -> PendingGroup | None:
        """The one that a group on the node was made of: what was sealed for it is like nothing else."""
        return next((each for each in self.all() if each.sealed == sealed), None)

    def all(self) -> Sequence[PendingGroup]:
        """Those without an answer."""
        return [unpack(PendingGroup, kept) for kept in self._store.all(kinds.PENDING_GROUP)]


def group_request_key(members: Collection[UUID], title: str, id: UUID | None) -> str:
    """The name of a group that is wanted: its id, else who is to be in it and its title."""
    return str(id) if id is not None else " ".join((*sorted(map(str, members)), title))


def checked_title(title: str) -> str:
    """A title as it is sealed: one line, composed, nothing in it that cannot be seen. Raises TextTooLong, NothingToSee."""
    if not clean_line(title):
        raise NothingToSee("title")
    try:
        return validate_line(title, MAX_TITLE)
    except InvalidText as problem:
        raise TextTooLong("title", problem) from None


@dataclass(frozen=True, slots=True)
class GroupTask:
    """A group to look after: who is to be told the key, and whether somebody was made to go."""

    conversation_id: UUID
    tell: tuple[UUID, ...] = ()
    is_rotating: bool = False


class GroupTasks:
    """Reads and writes them, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, due: GroupTask) -> None:
        """It is looked after, whatever happens."""
        with self._store.transaction():
            kept = self._store.get(kinds.GROUP_TASK, str(due.conversation_id))
            before = unpack(GroupTask, kept) if kept else GroupTask(due.conversation_id)
            tell = tuple(dict.fromkeys((*before.tell, *due.tell)))
            merged = GroupTask(due.conversation_id, tell, before.is_rotating or due.is_rotating)
            self._store.put(kinds.GROUP_TASK, str(due.conversation_id), pack(merged))

    def pending(self) -> Sequence[GroupTask]:
        """All that are to be looked after."""
        return [unpack(GroupTask, kept) for kept in self._store.all(kinds.GROUP_TASK)]

    def complete(self, due: GroupTask) -> None:
        """It was, unless more has become due meanwhile."""
        with self._store.transaction():
            if self._store.get(kinds.GROUP_TASK, str(due.conversation_id)) == pack(due):
                self._store.put(kinds.GROUP_TASK, str(due.conversation_id), None)
