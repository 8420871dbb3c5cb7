"""Groups that this device has to look after: kept until it is done, for the process may end before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store


GROUP_TASK_KIND: Final = "group due"


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
            kept = self._store.get(GROUP_TASK_KIND, str(due.conversation_id))
            before = unpack(GroupTask, kept) if kept else GroupTask(due.conversation_id)
            tell = tuple(dict.fromkeys((*before.tell, *due.tell)))
            merged = GroupTask(due.conversation_id, tell, before.is_rotating or due.is_rotating)
            self._store.put(GROUP_TASK_KIND, str(due.conversation_id), pack(merged))

    def pending(self) -> Sequence[GroupTask]:
        """All that are to be looked after."""
        return [unpack(GroupTask, kept) for kept in self._store.all(GROUP_TASK_KIND)]

    def complete(self, due: GroupTask) -> None:
        """It was, unless more has become due meanwhile."""
        with self._store.transaction():
            if self._store.get(GROUP_TASK_KIND, str(due.conversation_id)) == pack(due):
                self._store.put(GROUP_TASK_KIND, str(due.conversation_id), None)
