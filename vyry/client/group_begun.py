"""Groups that the node was asked to make, until its answer is safe here: asked again after a kill, no second one is made."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from vyry.client.packing import pack, unpack
from vyry.client.refusals import NothingToSee, TextTooLong
from vyry.client.store import Store
from vyry.display_text import UnfitText, checked_line, clean_line
from vyry.signal_protocol.blobs import Blob, seal_blob
from vyry.signal_protocol.primitives import KEY_BYTES


MAX_TITLE: Final = 1_000
_KIND: Final = "group begun"
#: By the wish: the id of the group that came of it.
_MADE: Final = "group made"


@dataclass(frozen=True, slots=True)
class Begun:
    """A group that the node was, or was about to be, asked to make: known again by what was sealed for it."""

    members: tuple[UUID, ...]
    title: str
    key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    id: UUID | None = None

    @property
    def name(self) -> str:
        """See `wish`."""
        return wish(self.members, self.title, self.id)


class Beginnings:
    """Reads and writes them, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, members: Collection[UUID], title: str, id: UUID | None = None) -> tuple[Begun, bool]:
        """What a new group is made with, kept before the node hears of it; and whether it was begun before. Raises TextTooLong, NothingToSee."""
        key = secrets.token_bytes(KEY_BYTES)
        begun = Begun(tuple(members), title, key, seal_blob(key, Blob.GROUP_INFO, {"title": checked(title)}), id)
        before = self._store.get(_KIND, begun.name)
        if before is not None:
            return unpack(Begun, before), True
        self._store.put(_KIND, begun.name, pack(begun))
        return begun, False

    def drop(self, begun: Begun) -> None:
        """It never will be."""
        self._store.put(_KIND, begun.name, None)

    def done(self, begun: Begun, conversation_id: UUID) -> None:
        """It is there; whoever asks for it once more gets this one (`made`)."""
        self.drop(begun)
        self._store.put(_MADE, begun.name, conversation_id.bytes)

    def made(self, name: str) -> UUID | None:
        """The group that a wish was made into, as long as that is kept: under an id for ever, else while nobody has had the answer (`answered`)."""
        kept = self._store.get(_MADE, name)
        return UUID(bytes=kept) if kept is not None else None

    def answered(self, name: str) -> None:
        """Whoever asked for it without an id has it: the same wish is another group from now on."""
        self._store.put(_MADE, name, None)

    def found(self, sealed: bytes) -> Begun | None:
        """The one that a group on the node was made of: what was sealed for it is like nothing else."""
        return next((each for each in self.all() if each.sealed == sealed), None)

    def all(self) -> Sequence[Begun]:
        """Those without an answer."""
        return [unpack(Begun, kept) for kept in self._store.all(_KIND)]


def wish(members: Collection[UUID], title: str, id: UUID | None) -> str:
    """The name of a group that is wanted: its id, else who is to be in it and its title."""
    return str(id) if id is not None else " ".join((*sorted(map(str, members)), title))


def checked(title: str) -> str:
    """A title as it is sealed: one line, composed, nothing in it that cannot be seen. Raises TextTooLong, NothingToSee."""
    if not clean_line(title):
        raise NothingToSee("title")
    try:
        return checked_line(title, MAX_TITLE)
    except UnfitText as problem:
        raise TextTooLong("title", problem) from None
