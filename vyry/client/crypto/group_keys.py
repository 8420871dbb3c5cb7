"""The keys that open what groups are called: those that others told, and those of this device, with whom it told them.

Anybody in a group may tell a key, but only its admins can seal something under one: a key is believed when it opens what the node has. Per device two
generations are held, for a key may come before or after what is sealed under it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.pending_groups import MAX_TITLE, GroupTask, GroupTasks, PendingGroups
from vyry.client.store.store import Store
from vyry.kernel.display_text import clean_line, truncate
from vyry.signal_protocol.blobs import BlobKind, open_blob
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.provisioning import GroupKey as HandedKey
from vyry.signal_protocol.refusals import Refusal


#: So many generations of each device, and so many keys of a group in all.
GENERATIONS_PER_DEVICE: Final = 2
MAX_KEYS: Final = 64
#: Generations are counted up to here.
LAST_GENERATION: Final = 2**53 - 1
#: A new device is handed at most so many: they have to fit into one blob.
MAX_KEYS_FOR_LINK: Final = 300
#: A device tells itself nothing: its own keys have no sender.
_NOBODY: Final = (UUID(int=0), 0)
#: So many times the characters that are shown are looked at: the rest may be made of what cannot be seen.
_WRITTEN: Final = 8


@dataclass(frozen=True, slots=True)
class GroupKey:
    """One generation of one device. `told`: to whom this device told it, when it made it (`is_own`)."""

    sender: tuple[UUID, int]
    generation: int
    key: bytes = field(repr=False)
    is_own: bool = False
    told: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredGroupKeys:
    """The keys of a group; the first is the one that opened something last."""

    conversation_id: UUID
    keys: tuple[GroupKey, ...]


class GroupKeys:
    """Reads and writes them, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks = GroupTasks(store)
        self._pending_groups = PendingGroups(store)

    def accept(self, conversation_id: UUID, sender: Address, generation: int, key: bytes) -> None:
        """Hold a key that a device told."""
        self._add(conversation_id, GroupKey((sender.user_id, sender.device_id), generation, key))

    def newest_own(self, conversation_id: UUID) -> GroupKey | None:
        """The newest that this device made."""
        made = [key for key in self._load(conversation_id) if key.is_own]
        return max(made, key=lambda key: key.generation, default=None)

    def save_own(self, conversation_id: UUID, own: GroupKey) -> None:
        """Hold a key of this device, or note whom it was told."""
        keys = self._load(conversation_id)
        if any(key.key == own.key for key in keys):
            self._save(conversation_id, [own if key.key == own.key else key for key in keys])
        else:
            self._add(conversation_id, own)

    def open_info(self, conversation_id: UUID, sealed: bytes) -> tuple[GroupKey | None, Mapping[str, Any]]:
        """What is said of a group and the key that opened it; nothing as long as none does."""
        with self._store.transaction():
            self._complete_pending_group(conversation_id, sealed)
            keys = self._load(conversation_id)
            for place, key in enumerate(keys):
                with suppress(Refusal):
                    info = open_blob(key.key, BlobKind.GROUP_INFO, sealed)
                    if place:
                        self._save(conversation_id, [key, *keys[:place], *keys[place + 1 :]])
                    return key, info
        return None, {}

    def delete(self, conversation_id: UUID) -> None:
        """This person is in it no more."""
        self._store.put(kinds.GROUP_KEYS, str(conversation_id), None)

    def keys_for_new_device(self) -> tuple[HandedKey, ...]:
        """What a new device of the account is given: for each group the key in use."""
        groups = [unpack(StoredGroupKeys, kept) for kept in self._store.all(kinds.GROUP_KEYS)][:MAX_KEYS_FOR_LINK]
        return tuple(HandedKey(each.conversation_id, each.keys[0].key, each.keys[0].generation) for each in groups)

    def remove_recipient(self, user_id: UUID) -> None:
        """Somebody has other keys than before: what they were told is lost to them."""
        for kept in self._store.all(kinds.GROUP_KEYS):
            group = unpack(StoredGroupKeys, kept)
            if any(user_id in key.told for key in group.keys):
                less = [replace(key, told=tuple(each for each in key.told if each != user_id)) for key in group.keys]
                self._save(group.conversation_id, less)
                self._tasks.add(GroupTask(group.conversation_id))

    def schedule_check(self, conversation_id: UUID) -> None:
        """The node says that a group is another one: whoever made a key of it looks after it."""
        if self.newest_own(conversation_id) is not None:
            self._tasks.add(GroupTask(conversation_id))

    def _complete_pending_group(self, conversation_id: UUID, sealed: bytes) -> None:
        """If this is a group that was begun here, its key is known, and is to be told."""
        begun = self._pending_groups.find_by_sealed(sealed)
        if begun is not None:
            self._pending_groups.complete(begun, conversation_id)
            self._add(conversation_id, new_own_key(1, begun.key))
            self._tasks.add(GroupTask(conversation_id))

    def _add(self, conversation_id: UUID, new: GroupKey) -> None:
        keys = self._load(conversation_id)
        if any((key.sender, key.key) == (new.sender, new.key) for key in keys):
            return
        # The first one is in use: it stays, whatever is told.
        first, others = keys[:1], keys[1:]
        same = [key for key in others if key.sender == new.sender]
        newest = sorted((new, *same), key=lambda key: -key.generation)[:GENERATIONS_PER_DEVICE]
        rest = [key for key in others if key.sender != new.sender]
        self._save(conversation_id, [*first, *newest, *rest][:MAX_KEYS])

    def _load(self, conversation_id: UUID) -> tuple[GroupKey, ...]:
        kept = self._store.get(kinds.GROUP_KEYS, str(conversation_id))
        return unpack(StoredGroupKeys, kept).keys if kept else ()

    def _save(self, conversation_id: UUID, keys: Sequence[GroupKey]) -> None:
        self._store.put(kinds.GROUP_KEYS, str(conversation_id), pack(StoredGroupKeys(conversation_id, tuple(keys))))


def new_own_key(generation: int, key: bytes) -> GroupKey:
    """A key that this device made, told to nobody yet."""
    return GroupKey(_NOBODY, generation, key, is_own=True)


def read_title(info: Mapping[str, Any]) -> str | None:
    """The title of a group."""
    return read_line(info, "title", MAX_TITLE)


def read_line(info: Mapping[str, Any], name: str, most: int) -> str | None:
    """Words fit for a line of a screen, None when there are none: whoever wrote them may have written anything."""
    said = info.get(name)
    if not isinstance(said, str):
        return None
    return truncate(clean_line(said[: most * _WRITTEN]), most) or None
