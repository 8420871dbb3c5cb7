"""What is pinned of a conversation at the first look, and never changed by the node: its kind, and the peer of a direct one."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack_cached
from vyry.client.store.store import Store
from vyry.signal_protocol.refusals import ConversationForged


#: So many accounts that left a group are remembered: late mail and keys of theirs are no lie.
_FORMER: Final = 200


@dataclass(frozen=True, slots=True)
class ConversationPin:
    """What never changes of a conversation (its kind, and the peer of a direct one), and the members of a group at the last look.

    `is_skipping`: between the last two looks the group had versions that were not seen: accounts may have come and gone.
    """

    is_group: bool
    peer: UUID | None = None
    members: tuple[UUID, ...] = ()
    former: tuple[UUID, ...] = ()
    version: int = 0
    is_skipping: bool = False

    def allows_sender(self, user_id: UUID) -> bool:
        """Whether contents of this account may belong here: it is, or lately was, a member as the node says."""
        return user_id in (self.peer, *self.members, *self.former)

    def with_members(self, members: Collection[UUID], version: int) -> "ConversationPin":
        """Once the node told these members of a group, in this version of it."""
        gone = tuple(each for each in self.members if each not in members)
        former = tuple(each for each in (*self.former, *gone) if each not in members)[-_FORMER:]
        is_skipping = self.is_skipping if version == self.version else version - self.version > 1
        return replace(self, members=tuple(members), former=former, version=version, is_skipping=is_skipping)

    def with_former_member(self, user_id: UUID) -> "ConversationPin":
        """An account came and went unseen."""
        return replace(self, former=(*self.former, user_id)[-_FORMER:])


@dataclass(frozen=True, slots=True)
class StoredPin:
    """A pin as it is stored, with the conversation that it is of: names of rows are hashes."""

    conversation_id: UUID
    pin: ConversationPin


class ConversationPins:
    """Reads and writes pins of conversations, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, conversation_id: UUID) -> ConversationPin | None:
        """The pin; None before the first look."""
        kept = self._store.get(kinds.CONVERSATION_PIN, str(conversation_id))
        return unpack_cached(StoredPin, kept).pin if kept is not None else None

    def all(self) -> Iterator[tuple[UUID, ConversationPin]]:
        """Every pin."""
        for kept in self._store.all(kinds.CONVERSATION_PIN):
            found = unpack_cached(StoredPin, kept)
            yield found.conversation_id, found.pin

    def save(self, conversation_id: UUID, pin: ConversationPin) -> None:
        """Store it."""
        self._store.put(kinds.CONVERSATION_PIN, str(conversation_id), pack(StoredPin(conversation_id, pin)))

    def pin_direct(self, conversation_id: UUID, peer: UUID) -> None:
        """This is the direct conversation with that account, for ever. Raises ConversationForged when it is pinned otherwise."""
        pin = self.get(conversation_id)
        if pin is not None and (pin.is_group or pin.peer not in (None, peer)):
            raise ConversationForged
        self.save(conversation_id, ConversationPin(is_group=False, peer=peer))
