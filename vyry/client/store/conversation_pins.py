"""Pins of conversations: the kind, and the other account of a direct conversation, as first fetched. The node can never change them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack_cached
from vyry.client.store.store import Store
from vyry.signal_protocol.refusals import ConversationForged


#: Accounts that left a group and are remembered: their late mail and keys are no forgery.
_MAX_FORMER: Final = 200


@dataclass(frozen=True, slots=True)
class ConversationPin:
    """The kind of a conversation and the peer of a direct one, which never change, and the members of a group as last fetched.

    `is_skipping`: the group had versions between the last two fetches that were not seen: accounts may have joined and left.
    """

    is_group: bool
    peer: UUID | None = None
    members: tuple[UUID, ...] = ()
    former: tuple[UUID, ...] = ()
    version: int = 0
    is_skipping: bool = False

    def allows_sender(self, user_id: UUID) -> bool:
        """Whether contents of this account may belong here: the node reports it as a member, or did recently."""
        return user_id in (self.peer, *self.members, *self.former)

    def with_members(self, members: Collection[UUID], version: int) -> "ConversationPin":
        """The pin after the node reported these members of a group, in this version."""
        gone = tuple(each for each in self.members if each not in members)
        former = tuple(each for each in (*self.former, *gone) if each not in members)[-_MAX_FORMER:]
        is_skipping = self.is_skipping if version == self.version else version - self.version > 1
        return replace(self, members=tuple(members), former=former, version=version, is_skipping=is_skipping)

    def with_former_member(self, user_id: UUID) -> "ConversationPin":
        """The pin with an account that joined and left unseen."""
        return replace(self, former=(*self.former, user_id)[-_MAX_FORMER:])


@dataclass(frozen=True, slots=True)
class StoredPin:
    """A pin as it is stored, with its conversation: names of rows are hashes."""

    conversation_id: UUID
    pin: ConversationPin


class ConversationPins:
    """Reads and writes pins of conversations, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, conversation_id: UUID) -> ConversationPin | None:
        """The pin; None before the conversation was first fetched."""
        packed = self._store.get(kinds.CONVERSATION_PIN, str(conversation_id))
        return unpack_cached(StoredPin, packed).pin if packed is not None else None

    def all(self) -> Iterator[tuple[UUID, ConversationPin]]:
        """Every pin."""
        for packed in self._store.all(kinds.CONVERSATION_PIN):
            found = unpack_cached(StoredPin, packed)
            yield found.conversation_id, found.pin

    def save(self, conversation_id: UUID, pin: ConversationPin) -> None:
        """Store it."""
        self._store.put(kinds.CONVERSATION_PIN, str(conversation_id), pack(StoredPin(conversation_id, pin)))

    def pin_direct(self, conversation_id: UUID, peer: UUID) -> None:
        """Pin the direct conversation with that account. Raises ConversationForged when it is pinned otherwise."""
        pin = self.get(conversation_id)
        if pin is not None and (pin.is_group or pin.peer not in (None, peer)):
            raise ConversationForged
        self.save(conversation_id, ConversationPin(is_group=False, peer=peer))
