"""Conversations as the node tells them, held against what is pinned of each: a direct one has its two people for ever, and no kind changes."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from vyry.client.crypto.device_lists import DeviceList, DeviceLists, invalidate_device_list
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, is_verified
from vyry.client.store import kinds
from vyry.client.store.conversation_pins import ConversationPin, ConversationPins
from vyry.client.store.events import ConversationForged as ForgedEvent
from vyry.client.store.events import MemberAdded
from vyry.client.store.journal import Journal
from vyry.client.store.packing import pack, unpack_cached
from vyry.client.store.store import Store
from vyry.client.transport.rest import RestClient
from vyry.client.transport.validation import read_device_id, read_int, read_uuid
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import ConversationForged


_KINDS: Final = {"group": True, "direct": False}


@dataclass(frozen=True, slots=True)
class ConversationMembers:
    """A conversation."""

    is_group: bool
    version: int
    members: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class ExpectedMembers:
    """Whom this device has just had the node take into a group. `is_new`: it asked for the group itself, so nobody else is known there; `is_first`: this is the answer to that, so nobody else can be there yet."""

    members: Collection[UUID] = ()
    is_new: bool = False
    is_first: bool = False

    def unexpected(self, others: Collection[UUID], known: Collection[UUID]) -> list[UUID]:
        """Those of the others of whom the person here is told."""
        return [each for each in others if each not in self.members and (self.is_new or each not in known)]


_NOBODY: Final = ExpectedMembers()


class MemberDirectory:
    """Asks the node, and remembers."""

    def __init__(self, store: Store, rest: RestClient, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._peers = Peers(store)
        self._pins = ConversationPins(store)
        self.device_lists: Final = DeviceLists(store, rest, now)

    async def get(self, conversation_id: UUID) -> ConversationMembers:
        """The conversation. That of the account with itself, under its own id, is not asked for. Raises ConversationForged, Refused, Unreachable."""
        if conversation_id == (me := LocalDevice.load(self._store).user_id):
            return ConversationMembers(is_group=False, version=1, members=(me,))
        kept = self._store.get(kinds.MEMBERS, str(conversation_id))
        return unpack_cached(ConversationMembers, kept) if kept is not None else await self.refresh(conversation_id)

    async def refresh(self, conversation_id: UUID) -> ConversationMembers:
        """As `get`, from the node as it is now."""
        said = await self._rest.call("GET", f"/conversations/{conversation_id}")
        return self.record(said, conversation_id)

    def record(
        self, said: Mapping[str, Any], asked_for: UUID | None = None, *, expected: ExpectedMembers = _NOBODY
    ) -> ConversationMembers:
        """Remember a conversation that the node has just told; newcomers of a group, but for `expected` ones, become `memberAdded`.

        Raises ConversationForged, with an event, Unreachable when it is no conversation, or another one than was asked for: then nothing is remembered.
        """
        with self._rest.validated_response():
            conversation_id = read_uuid(said["conversationId"])
            if asked_for not in (None, conversation_id):
                raise ValueError("another conversation")
            members = tuple(dict.fromkeys(read_uuid(each["userId"]) for each in said["members"]))
            circle = ConversationMembers(_KINDS[said["kind"]], read_int(said["version"]), members)
        with self._store.transaction():
            forged = self._is_forged(conversation_id, circle, expected)
            self._store.put(kinds.MEMBERS, str(conversation_id), None if forged else pack(circle))
        if forged:
            raise ConversationForged
        return circle

    def check(self, said: Mapping[str, Any]) -> None:
        """Hold a conversation that the node has just listed against its pin, if there is one: a lie becomes an event, and nothing else is remembered."""
        conversation_id, members = UUID(said["conversationId"]), tuple(UUID(each["userId"]) for each in said["members"])
        pin = self._pins.get(conversation_id)
        lie = (
            self._find_contradiction(conversation_id, pin, ConversationMembers(said["kind"] == "group", 0, members))
            if pin is not None
            else None
        )
        if lie is not None or self._store.get(kinds.FORGED_CONVERSATION, str(conversation_id)) is not None:
            with self._store.transaction():
                self._record_contradiction(conversation_id, lie)

    def known_members(self, conversation_id: UUID, me: UUID) -> list[str]:
        """Everybody else there, as far as it is known without asking."""
        kept = self._store.get(kinds.MEMBERS, str(conversation_id))
        return [str(each) for each in unpack_cached(ConversationMembers, kept).members if each != me] if kept else []

    async def device_list(self, user_id: UUID) -> DeviceList:
        """See DeviceLists.get."""
        return await self.device_lists.get(user_id)

    def invalidate_stale(self, conversation_id: UUID, stale: Mapping[str, Any], now: int) -> None:
        """Forget what the node says is outdated; a device that is gone is kept for late mail alone."""
        with self._rest.validated_response(), self._store.transaction():
            for name in ("missing", "extra", "stale"):
                for each in stale.get(name, ()):
                    invalidate_device_list(self._store, read_uuid(each["userId"]))
            for each in stale.get("extra", ()):
                self._peers.expire_sessions(Address(read_uuid(each["userId"]), read_device_id(each["deviceId"])), now)
            self._store.put(kinds.MEMBERS, str(conversation_id), None)

    def _is_forged(self, conversation_id: UUID, circle: ConversationMembers, expected: ExpectedMembers) -> bool:
        """Whether the node tells something that cannot be; else the pin follows."""
        pin = self._pins.get(conversation_id)
        lie = self._find_contradiction(conversation_id, pin, circle)
        self._record_contradiction(conversation_id, lie)
        if lie is not None:
            return True
        others = self._without_self(circle.members)
        if circle.is_group:
            return self._add_newcomers(conversation_id, pin, circle, expected)
        peer = pin.peer if pin is not None else None
        self._pins.save(conversation_id, ConversationPin(is_group=False, peer=peer or next(iter(others), None)))
        return False

    def _find_contradiction(
        self, conversation_id: UUID, pin: ConversationPin | None, circle: ConversationMembers
    ) -> ForgedEvent | None:
        """What contradicts the pin."""
        others = self._without_self(circle.members)
        if pin is not None and pin.is_group != circle.is_group:
            return ForgedEvent(conversation_id=conversation_id, reason="kind")
        peer = pin.peer if pin is not None else None
        strange = [each for each in others if each != peer] if peer is not None or len(others) > 1 else []
        if circle.is_group or not strange:
            return None
        return ForgedEvent(conversation_id=conversation_id, reason="member", user_ids=tuple(sorted(strange)))

    def _record_contradiction(self, conversation_id: UUID, lie: ForgedEvent | None) -> None:
        name = str(conversation_id)
        if lie is not None:
            self._store.put(kinds.FORGED_CONVERSATION, name, conversation_id.bytes)
            self._add_event(lie)
        elif self._store.get(kinds.FORGED_CONVERSATION, name) is not None:
            self._store.put(kinds.FORGED_CONVERSATION, name, None)

    def _without_self(self, members: Collection[UUID]) -> list[UUID]:
        me = LocalDevice.load(self._store).user_id
        return [each for each in members if each != me]

    def _add_newcomers(
        self, conversation_id: UUID, pin: ConversationPin | None, circle: ConversationMembers, expected: ExpectedMembers
    ) -> bool:
        """Newcomers are told before anything is sealed for them; at the first look all are there. Answers whether the node tells of somebody who cannot be there."""
        others = self._without_self(circle.members)
        strangers = expected.unexpected(others, pin.members if pin is not None else others)
        if strangers and expected.is_first:
            self._add_event(
                ForgedEvent(conversation_id=conversation_id, reason="member", user_ids=tuple(sorted(strangers)))
            )
            return True
        for user_id in strangers:
            add_member_event(self._store, conversation_id, user_id)
        self._pins.save(conversation_id, (pin or ConversationPin(is_group=True)).with_members(others, circle.version))
        return False

    def _add_event(self, event: ForgedEvent) -> None:
        Journal(self._store).add_once(event, self._now())


def add_member_event(store: Store, conversation_id: UUID, user_id: UUID) -> None:
    """The person here is told of a newcomer of a group."""
    is_compared = is_verified(store, user_id)
    Journal(store).add(MemberAdded(conversation_id=conversation_id, user_id=user_id, is_verified=is_compared))


def forged_conversations(store: Store) -> list[UUID]:
    """Conversations of which the node tells what cannot be, as of the last look."""
    return sorted(UUID(bytes=kept) for kept in store.all(kinds.FORGED_CONVERSATION))
