"""The keys that open what groups are called: those that others told, and those of this device, with whom it told them.

Anybody in a group may tell a key, but only its admins can seal something under one: a key is believed when it opens what the node has. Per device two
generations are held, for a key may come before or after what is sealed under it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from vyry.client.group_begun import MAX_TITLE, Beginnings
from vyry.client.group_due import Due, Dues
from vyry.client.packing import pack, unpack
from vyry.client.store import Store
from vyry.display_text import clean_line, shortened
from vyry.signal_protocol.blobs import Blob, open_blob
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.provisioning import GroupKey as HandedKey
from vyry.signal_protocol.refusals import Refusal


#: So many generations of each device, and so many keys of a group in all.
GENERATIONS: Final = 2
MAX_KEYS: Final = 64
#: Generations are counted up to here.
LAST_GENERATION: Final = 2**53 - 1
#: A new device is handed at most so many: they have to fit into one blob.
MAX_HANDED: Final = 300
_KIND: Final = "group keys"
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
class Held:
    """The keys of a group; the first is the one that opened something last."""

    conversation_id: UUID
    keys: tuple[GroupKey, ...]


class GroupKeys:
    """Reads and writes them, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dues = Dues(store)
        self._beginnings = Beginnings(store)

    def accept(self, conversation_id: UUID, sender: Address, generation: int, key: bytes) -> None:
        """Hold a key that a device told."""
        self._add(conversation_id, GroupKey((sender.user_id, sender.device_id), generation, key))

    def own(self, conversation_id: UUID) -> GroupKey | None:
        """The newest that this device made."""
        made = [key for key in self._held(conversation_id) if key.is_own]
        return max(made, key=lambda key: key.generation, default=None)

    def keep_own(self, conversation_id: UUID, own: GroupKey) -> None:
        """Hold a key of this device, or note whom it was told."""
        keys = self._held(conversation_id)
        if any(key.key == own.key for key in keys):
            self._keep(conversation_id, [own if key.key == own.key else key for key in keys])
        else:
            self._add(conversation_id, own)

    def opened(self, conversation_id: UUID, sealed: bytes) -> tuple[GroupKey | None, Mapping[str, Any]]:
        """What is said of a group and the key that opened it; nothing as long as none does."""
        with self._store.transaction():
            self._adopt(conversation_id, sealed)
            keys = self._held(conversation_id)
            for place, key in enumerate(keys):
                with suppress(Refusal):
                    info = open_blob(key.key, Blob.GROUP_INFO, sealed)
                    if place:
                        self._keep(conversation_id, [key, *keys[:place], *keys[place + 1 :]])
                    return key, info
        return None, {}

    def forget(self, conversation_id: UUID) -> None:
        """This person is in it no more."""
        self._store.put(_KIND, str(conversation_id), None)

    def handed(self) -> tuple[HandedKey, ...]:
        """What a new device of the account is given: for each group the key in use."""
        groups = [unpack(Held, kept) for kept in self._store.all(_KIND)][:MAX_HANDED]
        return tuple(HandedKey(each.conversation_id, each.keys[0].key, each.keys[0].generation) for each in groups)

    def untell(self, user_id: UUID) -> None:
        """Somebody has other keys than before: what they were told is lost to them."""
        for kept in self._store.all(_KIND):
            group = unpack(Held, kept)
            if any(user_id in key.told for key in group.keys):
                less = [replace(key, told=tuple(each for each in key.told if each != user_id)) for key in group.keys]
                self._keep(group.conversation_id, less)
                self._dues.note(Due(group.conversation_id))

    def note_change(self, conversation_id: UUID) -> None:
        """The node says that a group is another one: whoever made a key of it looks after it."""
        if self.own(conversation_id) is not None:
            self._dues.note(Due(conversation_id))

    def _adopt(self, conversation_id: UUID, sealed: bytes) -> None:
        """If this is a group that was begun here, its key is known, and is to be told."""
        begun = self._beginnings.found(sealed)
        if begun is not None:
            self._beginnings.done(begun, conversation_id)
            self._add(conversation_id, own_key(1, begun.key))
            self._dues.note(Due(conversation_id))

    def _add(self, conversation_id: UUID, new: GroupKey) -> None:
        keys = self._held(conversation_id)
        if any((key.sender, key.key) == (new.sender, new.key) for key in keys):
            return
        # The first one is in use: it stays, whatever is told.
        first, others = keys[:1], keys[1:]
        same = [key for key in others if key.sender == new.sender]
        newest = sorted((new, *same), key=lambda key: -key.generation)[:GENERATIONS]
        rest = [key for key in others if key.sender != new.sender]
        self._keep(conversation_id, [*first, *newest, *rest][:MAX_KEYS])

    def _held(self, conversation_id: UUID) -> tuple[GroupKey, ...]:
        kept = self._store.get(_KIND, str(conversation_id))
        return unpack(Held, kept).keys if kept else ()

    def _keep(self, conversation_id: UUID, keys: Sequence[GroupKey]) -> None:
        self._store.put(_KIND, str(conversation_id), pack(Held(conversation_id, tuple(keys))))


def own_key(generation: int, key: bytes) -> GroupKey:
    """A key that this device made, told to nobody yet."""
    return GroupKey(_NOBODY, generation, key, is_own=True)


def title_in(info: Mapping[str, Any]) -> str | None:
    """The title of a group."""
    return line_in(info, "title", MAX_TITLE)


def line_in(info: Mapping[str, Any], name: str, most: int) -> str | None:
    """Words fit for a line of a screen, None when there are none: whoever wrote them may have written anything."""
    said = info.get(name)
    if not isinstance(said, str):
        return None
    return shortened(clean_line(said[: most * _WRITTEN]), most) or None
