"""Work on groups that survives a restart: groups that the node was asked to create, and keys that have to be distributed."""

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
    """A group that the node was, or was about to be, asked to create; recognized by its sealed information."""

    members: tuple[UUID, ...]
    title: str
    key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    id: UUID | None = None

    @property
    def request_key(self) -> str:
        """See `group_request_key`."""
        return group_request_key(self.members, self.title, self.id)


class PendingGroups:
    """Reads and writes them, inside the transaction of the caller. After a crash the same request creates no second group."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, members: Collection[UUID], title: str, id: UUID | None = None) -> tuple[PendingGroup, bool]:
        """The data to create a new group, stored before the node receives it; and whether the same request was pending before. Raises TextTooLong, NothingToSee."""
        key = secrets.token_bytes(KEY_BYTES)
        pending = PendingGroup(
            tuple(members), title, key, seal_blob(key, BlobKind.GROUP_INFO, {"title": checked_title(title)}), id
        )
        before = self._store.get(kinds.PENDING_GROUP, pending.request_key)
        if before is not None:
            return unpack(PendingGroup, before), True
        self._store.put(kinds.PENDING_GROUP, pending.request_key, pack(pending))
        return pending, False

    def delete(self, pending: PendingGroup) -> None:
        """The node refused to create it."""
        self._store.put(kinds.PENDING_GROUP, pending.request_key, None)

    def complete(self, pending: PendingGroup, conversation_id: UUID) -> None:
        """The group exists; the same request returns it (`find_created`)."""
        self.delete(pending)
        self._store.put(kinds.CREATED_GROUP, pending.request_key, conversation_id.bytes)

    def find_created(self, request_key: str) -> UUID | None:
        """The group that a request created, while that is stored: for a request with an id for ever, else until its caller has received it (`delete_created`)."""
        packed = self._store.get(kinds.CREATED_GROUP, request_key)
        return UUID(bytes=packed) if packed is not None else None

    def delete_created(self, request_key: str) -> None:
        """The caller of a request without an id has received the group: the same request creates another one from now on."""
        self._store.put(kinds.CREATED_GROUP, request_key, None)

    def find_by_sealed(self, sealed: bytes) -> PendingGroup | None:
        """The pending group with this sealed information, which is unique."""
        return next((each for each in self.all() if each.sealed == sealed), None)

    def all(self) -> Sequence[PendingGroup]:
        """Groups without a response."""
        return [unpack(PendingGroup, packed) for packed in self._store.all(kinds.PENDING_GROUP)]


def group_request_key(members: Collection[UUID], title: str, id: UUID | None) -> str:
    """The key of a request for a group: its id, else its members and title."""
    return str(id) if id is not None else " ".join((*sorted(map(str, members)), title))


def checked_title(title: str) -> str:
    """A title as it is sealed: one line of visible, normalized text. Raises TextTooLong, NothingToSee."""
    if not clean_line(title):
        raise NothingToSee("title")
    try:
        return validate_line(title, MAX_TITLE)
    except InvalidText as problem:
        raise TextTooLong("title", problem) from None


@dataclass(frozen=True, slots=True)
class GroupTask:
    """A group to check: which accounts need the key, and whether a member was removed."""

    conversation_id: UUID
    tell: tuple[UUID, ...] = ()
    is_rotating: bool = False


class GroupTasks:
    """Reads and writes group tasks, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, task: GroupTask) -> None:
        """Add a task, merged with a pending one for the same group."""
        with self._store.transaction():
            packed = self._store.get(kinds.GROUP_TASK, str(task.conversation_id))
            before = unpack(GroupTask, packed) if packed else GroupTask(task.conversation_id)
            tell = tuple(dict.fromkeys((*before.tell, *task.tell)))
            merged = GroupTask(task.conversation_id, tell, before.is_rotating or task.is_rotating)
            self._store.put(kinds.GROUP_TASK, str(task.conversation_id), pack(merged))

    def pending(self) -> Sequence[GroupTask]:
        """All pending tasks."""
        return [unpack(GroupTask, packed) for packed in self._store.all(kinds.GROUP_TASK)]

    def complete(self, task: GroupTask) -> None:
        """The task is done, unless it was extended meanwhile."""
        with self._store.transaction():
            if self._store.get(kinds.GROUP_TASK, str(task.conversation_id)) == pack(task):
                self._store.put(kinds.GROUP_TASK, str(task.conversation_id), None)
