"""The keys that open the sealed information of groups (title and more): those received from other devices, and those of this device with their recipients.

Every member can send a key, but only admins can have something sealed under one: a key counts when it opens what the node has. Two generations are stored per device,
because a key may arrive before or after what is sealed under it.
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


#: Generations of each device, and keys of a group in all.
GENERATIONS_PER_DEVICE: Final = 2
MAX_KEYS: Final = 64
#: The highest generation number.
LAST_GENERATION: Final = 2**53 - 1
#: Keys that a new device receives: they have to fit into one blob.
MAX_KEYS_FOR_LINK: Final = 300
#: Own keys have no sender.
_NO_SENDER: Final = (UUID(int=0), 0)
#: How many times the displayed length is read: some characters may be invisible.
_SCAN_FACTOR: Final = 8


@dataclass(frozen=True, slots=True)
class GroupKey:
    """One generation of one device. `told`: the accounts that this device sent it to, when this device made it (`is_own`)."""

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
    """Reads and writes group keys, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks = GroupTasks(store)
        self._pending_groups = PendingGroups(store)

    def accept(self, conversation_id: UUID, sender: Address, generation: int, key: bytes) -> None:
        """Store a key that a device sent."""
        self._add(conversation_id, GroupKey((sender.user_id, sender.device_id), generation, key))

    def newest_own(self, conversation_id: UUID) -> GroupKey | None:
        """The newest key that this device made."""
        made = [key for key in self._load(conversation_id) if key.is_own]
        return max(made, key=lambda key: key.generation, default=None)

    def save_own(self, conversation_id: UUID, own: GroupKey) -> None:
        """Store a key of this device, or its recipients."""
        keys = self._load(conversation_id)
        if any(key.key == own.key for key in keys):
            self._save(conversation_id, [own if key.key == own.key else key for key in keys])
        else:
            self._add(conversation_id, own)

    def open_info(self, conversation_id: UUID, sealed: bytes) -> tuple[GroupKey | None, Mapping[str, Any]]:
        """The information of a group and the key that opened it; (None, {}) while no key does."""
        with self._store.transaction():
            self._complete_pending_group(conversation_id, sealed)
            keys = self._load(conversation_id)
            for index, key in enumerate(keys):
                with suppress(Refusal):
                    info = open_blob(key.key, BlobKind.GROUP_INFO, sealed)
                    if index:
                        self._save(conversation_id, [key, *keys[:index], *keys[index + 1 :]])
                    return key, info
        return None, {}

    def delete(self, conversation_id: UUID) -> None:
        """This account has left the group."""
        self._store.put(kinds.GROUP_KEYS, str(conversation_id), None)

    def keys_for_new_device(self) -> tuple[HandedKey, ...]:
        """For a new device of the account: the key in use of each group."""
        groups = [unpack(StoredGroupKeys, packed) for packed in self._store.all(kinds.GROUP_KEYS)][:MAX_KEYS_FOR_LINK]
        return tuple(HandedKey(each.conversation_id, each.keys[0].key, each.keys[0].generation) for each in groups)

    def remove_recipient(self, user_id: UUID) -> None:
        """An account has new keys and has lost what it received: it gets the group keys again."""
        for packed in self._store.all(kinds.GROUP_KEYS):
            group = unpack(StoredGroupKeys, packed)
            if any(user_id in key.told for key in group.keys):
                keys = [replace(key, told=tuple(each for each in key.told if each != user_id)) for key in group.keys]
                self._save(group.conversation_id, keys)
                self._tasks.add(GroupTask(group.conversation_id))

    def schedule_check(self, conversation_id: UUID) -> None:
        """A group has changed: if this device made a key for it, it checks the group."""
        if self.newest_own(conversation_id) is not None:
            self._tasks.add(GroupTask(conversation_id))

    def _complete_pending_group(self, conversation_id: UUID, sealed: bytes) -> None:
        """If this is a group that was being created here, store its key and schedule its distribution."""
        pending = self._pending_groups.find_by_sealed(sealed)
        if pending is not None:
            self._pending_groups.complete(pending, conversation_id)
            self._add(conversation_id, new_own_key(1, pending.key))
            self._tasks.add(GroupTask(conversation_id))

    def _add(self, conversation_id: UUID, new: GroupKey) -> None:
        keys = self._load(conversation_id)
        if any((key.sender, key.key) == (new.sender, new.key) for key in keys):
            return
        # The first one is in use: it stays, whatever arrives.
        first, others = keys[:1], keys[1:]
        same = [key for key in others if key.sender == new.sender]
        newest = sorted((new, *same), key=lambda key: -key.generation)[:GENERATIONS_PER_DEVICE]
        rest = [key for key in others if key.sender != new.sender]
        self._save(conversation_id, [*first, *newest, *rest][:MAX_KEYS])

    def _load(self, conversation_id: UUID) -> tuple[GroupKey, ...]:
        packed = self._store.get(kinds.GROUP_KEYS, str(conversation_id))
        return unpack(StoredGroupKeys, packed).keys if packed else ()

    def _save(self, conversation_id: UUID, keys: Sequence[GroupKey]) -> None:
        self._store.put(kinds.GROUP_KEYS, str(conversation_id), pack(StoredGroupKeys(conversation_id, tuple(keys))))


def new_own_key(generation: int, key: bytes) -> GroupKey:
    """A key that this device made and has sent to no other device yet."""
    return GroupKey(_NO_SENDER, generation, key, is_own=True)


def read_title(info: Mapping[str, Any]) -> str | None:
    """The title of a group."""
    return read_text_field(info, "title", MAX_TITLE)


def read_text_field(info: Mapping[str, Any], name: str, limit: int) -> str | None:
    """One line of display text, None when nothing is left: the sender may have written anything."""
    text = info.get(name)
    if not isinstance(text, str):
        return None
    return truncate(clean_line(text[: limit * _SCAN_FACTOR]), limit) or None
