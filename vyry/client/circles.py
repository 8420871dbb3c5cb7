"""Conversations as the node tells them, held against what is pinned of each: a direct one has its two people for ever, and no kind changes."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from vyry.client.conversation_pins import ConversationPin, Pins
from vyry.client.device import Me
from vyry.client.device_lists import DeviceList, DeviceLists, forget_devices
from vyry.client.events import ConversationForged as ForgedEvent
from vyry.client.events import MemberAdded
from vyry.client.journal import Journal
from vyry.client.packing import pack, unpack_public
from vyry.client.peers import Peers, is_verified
from vyry.client.rest import Rest
from vyry.client.shapes import device_number, identifier, whole
from vyry.client.store import Store
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import ConversationForged


_CIRCLE: Final = "conversation"
#: By conversation: its id, while the node tells of it what cannot be.
_FORGED: Final = "conversation forged"
_KINDS: Final = {"group": True, "direct": False}


@dataclass(frozen=True, slots=True)
class Circle:
    """A conversation."""

    is_group: bool
    version: int
    members: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """Whom this device has just had the node take into a group. `is_new`: it asked for the group itself, so nobody else is known there; `is_first`: this is the answer to that, so nobody else can be there yet."""

    members: Collection[UUID] = ()
    is_new: bool = False
    is_first: bool = False

    def strangers(self, others: Collection[UUID], known: Collection[UUID]) -> list[UUID]:
        """Those of the others of whom the person here is told."""
        return [each for each in others if each not in self.members and (self.is_new or each not in known)]


_NOBODY: Final = Expected()


class Circles:
    """Asks the node, and remembers."""

    def __init__(self, store: Store, rest: Rest, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._peers = Peers(store)
        self._pins = Pins(store)
        self.lists: Final = DeviceLists(store, rest, now)

    async def get(self, conversation_id: UUID) -> Circle:
        """The conversation. That of the account with itself, under its own id, is not asked for. Raises ConversationForged, Refused, Unreachable."""
        if conversation_id == (me := Me.of(self._store).user_id):
            return Circle(is_group=False, version=1, members=(me,))
        kept = self._store.get(_CIRCLE, str(conversation_id))
        return unpack_public(Circle, kept) if kept is not None else await self.refresh(conversation_id)

    async def refresh(self, conversation_id: UUID) -> Circle:
        """As `get`, from the node as it is now."""
        said = await self._rest.call("GET", f"/conversations/{conversation_id}")
        return self.keep(said, conversation_id)

    def keep(self, said: Mapping[str, Any], asked_for: UUID | None = None, *, expected: Expected = _NOBODY) -> Circle:
        """Remember a conversation that the node has just told; newcomers of a group, but for `expected` ones, become `memberAdded`.

        Raises ConversationForged, with an event, Unreachable when it is no conversation, or another one than was asked for: then nothing is remembered.
        """
        with self._rest.shaped():
            conversation_id = identifier(said["conversationId"])
            if asked_for not in (None, conversation_id):
                raise ValueError("another conversation")
            members = tuple(dict.fromkeys(identifier(each["userId"]) for each in said["members"]))
            circle = Circle(_KINDS[said["kind"]], whole(said["version"]), members)
        with self._store.transaction():
            forged = self._checked(conversation_id, circle, expected)
            self._store.put(_CIRCLE, str(conversation_id), None if forged else pack(circle))
        if forged:
            raise ConversationForged
        return circle

    def check(self, said: Mapping[str, Any]) -> None:
        """Hold a conversation that the node has just listed against its pin, if there is one: a lie becomes an event, and nothing else is remembered."""
        conversation_id, members = UUID(said["conversationId"]), tuple(UUID(each["userId"]) for each in said["members"])
        pin = self._pins.get(conversation_id)
        lie = self._lie(conversation_id, pin, Circle(said["kind"] == "group", 0, members)) if pin is not None else None
        if lie is not None or self._store.get(_FORGED, str(conversation_id)) is not None:
            with self._store.transaction():
                self._note_lie(conversation_id, lie)

    def others(self, conversation_id: UUID, me: UUID) -> list[str]:
        """Everybody else there, as far as it is known without asking."""
        kept = self._store.get(_CIRCLE, str(conversation_id))
        return [str(each) for each in unpack_public(Circle, kept).members if each != me] if kept else []

    async def devices(self, user_id: UUID) -> DeviceList:
        """See DeviceLists.get."""
        return await self.lists.get(user_id)

    def repair(self, conversation_id: UUID, stale: Mapping[str, Any], now: int) -> None:
        """Forget what the node says is outdated; a device that is gone is kept for late mail alone."""
        with self._rest.shaped(), self._store.transaction():
            for name in ("missing", "extra", "stale"):
                for each in stale.get(name, ()):
                    forget_devices(self._store, identifier(each["userId"]))
            for each in stale.get("extra", ()):
                self._peers.leave(Address(identifier(each["userId"]), device_number(each["deviceId"])), now)
            self._store.put(_CIRCLE, str(conversation_id), None)

    def _checked(self, conversation_id: UUID, circle: Circle, expected: Expected) -> bool:
        """Whether the node tells something that cannot be; else the pin follows."""
        pin = self._pins.get(conversation_id)
        lie = self._lie(conversation_id, pin, circle)
        self._note_lie(conversation_id, lie)
        if lie is not None:
            return True
        others = self._others(circle.members)
        if circle.is_group:
            return self._meet_members(conversation_id, pin, circle, expected)
        peer = pin.peer if pin is not None else None
        self._pins.keep(conversation_id, ConversationPin(is_group=False, peer=peer or next(iter(others), None)))
        return False

    def _lie(self, conversation_id: UUID, pin: ConversationPin | None, circle: Circle) -> ForgedEvent | None:
        """What contradicts the pin."""
        others = self._others(circle.members)
        if pin is not None and pin.is_group != circle.is_group:
            return ForgedEvent(conversation_id=conversation_id, reason="kind")
        peer = pin.peer if pin is not None else None
        strange = [each for each in others if each != peer] if peer is not None or len(others) > 1 else []
        if circle.is_group or not strange:
            return None
        return ForgedEvent(conversation_id=conversation_id, reason="member", user_ids=tuple(sorted(strange)))

    def _note_lie(self, conversation_id: UUID, lie: ForgedEvent | None) -> None:
        name = str(conversation_id)
        if lie is not None:
            self._store.put(_FORGED, name, conversation_id.bytes)
            self._tell(lie)
        elif self._store.get(_FORGED, name) is not None:
            self._store.put(_FORGED, name, None)

    def _others(self, members: Collection[UUID]) -> list[UUID]:
        me = Me.of(self._store).user_id
        return [each for each in members if each != me]

    def _meet_members(
        self, conversation_id: UUID, pin: ConversationPin | None, circle: Circle, expected: Expected
    ) -> bool:
        """Newcomers are told before anything is sealed for them; at the first look all are there. Answers whether the node tells of somebody who cannot be there."""
        others = self._others(circle.members)
        strangers = expected.strangers(others, pin.members if pin is not None else others)
        if strangers and expected.is_first:
            self._tell(ForgedEvent(conversation_id=conversation_id, reason="member", user_ids=tuple(sorted(strangers))))
            return True
        for user_id in strangers:
            add_member(self._store, conversation_id, user_id)
        self._pins.keep(conversation_id, (pin or ConversationPin(is_group=True)).at(others, circle.version))
        return False

    def _tell(self, event: ForgedEvent) -> None:
        Journal(self._store).add_once(event, self._now())


def add_member(store: Store, conversation_id: UUID, user_id: UUID) -> None:
    """The person here is told of a newcomer of a group."""
    is_compared = is_verified(store, user_id)
    Journal(store).add(MemberAdded(conversation_id=conversation_id, user_id=user_id, is_verified=is_compared))


def forged_conversations(store: Store) -> list[UUID]:
    """Conversations of which the node tells what cannot be, as of the last look."""
    return sorted(UUID(bytes=kept) for kept in store.all(_FORGED))
