"""Conversations as the node reports them, checked against their pins: the two people of a direct conversation never change, and no conversation changes its kind."""

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
    """A conversation: its kind, version and members."""

    is_group: bool
    version: int
    members: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class ExpectedMembers:
    """Members that this device has just asked the node to add. `is_new`: it asked for the group itself, so no other member is known there; `is_first`: this is the first response, so no other member can be there yet."""

    members: Collection[UUID] = ()
    is_new: bool = False
    is_first: bool = False

    def unexpected(self, others: Collection[UUID], known: Collection[UUID]) -> list[UUID]:
        """The others that the user is notified of."""
        return [each for each in others if each not in self.members and (self.is_new or each not in known)]


_NO_EXPECTATION: Final = ExpectedMembers()


class MemberDirectory:
    """Fetches and remembers conversations."""

    def __init__(self, store: Store, rest: RestClient, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._peers = Peers(store)
        self._pins = ConversationPins(store)
        self.device_lists: Final = DeviceLists(store, rest, now)

    async def get(self, conversation_id: UUID) -> ConversationMembers:
        """The conversation. The account's conversation with itself, under its own id, is not fetched. Raises ConversationForged, Refused, Unreachable."""
        if conversation_id == (me := LocalDevice.load(self._store).user_id):
            return ConversationMembers(is_group=False, version=1, members=(me,))
        packed = self._store.get(kinds.MEMBERS, str(conversation_id))
        return unpack_cached(ConversationMembers, packed) if packed is not None else await self.refresh(conversation_id)

    async def refresh(self, conversation_id: UUID) -> ConversationMembers:
        """As `get`, always from the node."""
        response = await self._rest.call("GET", f"/conversations/{conversation_id}")
        return self.record(response, conversation_id)

    def record(
        self, response: Mapping[str, Any], asked_for: UUID | None = None, *, expected: ExpectedMembers = _NO_EXPECTATION
    ) -> ConversationMembers:
        """Remember a conversation that the node has just reported; new members of a group, except `expected` ones, become `memberAdded`.

        Raises ConversationForged, with an event; Unreachable when the response is malformed or about another conversation: then nothing is remembered.
        """
        with self._rest.validated_response():
            conversation_id = read_uuid(response["conversationId"])
            if asked_for not in (None, conversation_id):
                raise ValueError("another conversation")
            members = tuple(dict.fromkeys(read_uuid(each["userId"]) for each in response["members"]))
            conversation = ConversationMembers(_KINDS[response["kind"]], read_int(response["version"]), members)
        with self._store.transaction():
            is_forged = self._is_forged(conversation_id, conversation, expected)
            self._store.put(kinds.MEMBERS, str(conversation_id), None if is_forged else pack(conversation))
        if is_forged:
            raise ConversationForged
        return conversation

    def check(self, response: Mapping[str, Any]) -> None:
        """Check a conversation of a list against its pin, if there is one: a contradiction becomes an event, nothing else is remembered."""
        conversation_id, members = (
            UUID(response["conversationId"]),
            tuple(UUID(each["userId"]) for each in response["members"]),
        )
        pin = self._pins.get(conversation_id)
        contradiction = (
            self._find_contradiction(conversation_id, pin, ConversationMembers(response["kind"] == "group", 0, members))
            if pin is not None
            else None
        )
        if contradiction is not None or self._store.get(kinds.FORGED_CONVERSATION, str(conversation_id)) is not None:
            with self._store.transaction():
                self._record_contradiction(conversation_id, contradiction)

    def known_members(self, conversation_id: UUID, me: UUID) -> list[str]:
        """All other members, as far as they are known without asking the node."""
        packed = self._store.get(kinds.MEMBERS, str(conversation_id))
        return (
            [str(each) for each in unpack_cached(ConversationMembers, packed).members if each != me] if packed else []
        )

    async def device_list(self, user_id: UUID) -> DeviceList:
        """See DeviceLists.get."""
        return await self.device_lists.get(user_id)

    def invalidate_stale(self, conversation_id: UUID, stale: Mapping[str, Any], now: int) -> None:
        """Delete what the node says is outdated; sessions with a device that is gone are kept for late mail."""
        with self._rest.validated_response(), self._store.transaction():
            for name in ("missing", "extra", "stale"):
                for each in stale.get(name, ()):
                    invalidate_device_list(self._store, read_uuid(each["userId"]))
            for each in stale.get("extra", ()):
                self._peers.expire_sessions(Address(read_uuid(each["userId"]), read_device_id(each["deviceId"])), now)
            self._store.put(kinds.MEMBERS, str(conversation_id), None)

    def _is_forged(self, conversation_id: UUID, conversation: ConversationMembers, expected: ExpectedMembers) -> bool:
        """Whether the report contradicts the pin; else the pin is updated."""
        pin = self._pins.get(conversation_id)
        contradiction = self._find_contradiction(conversation_id, pin, conversation)
        self._record_contradiction(conversation_id, contradiction)
        if contradiction is not None:
            return True
        others = self._without_self(conversation.members)
        if conversation.is_group:
            return self._add_newcomers(conversation_id, pin, conversation, expected)
        peer = pin.peer if pin is not None else None
        self._pins.save(conversation_id, ConversationPin(is_group=False, peer=peer or next(iter(others), None)))
        return False

    def _find_contradiction(
        self, conversation_id: UUID, pin: ConversationPin | None, conversation: ConversationMembers
    ) -> ForgedEvent | None:
        """The event for what contradicts the pin."""
        others = self._without_self(conversation.members)
        if pin is not None and pin.is_group != conversation.is_group:
            return ForgedEvent(conversation_id=conversation_id, reason="kind")
        peer = pin.peer if pin is not None else None
        strangers = [each for each in others if each != peer] if peer is not None or len(others) > 1 else []
        if conversation.is_group or not strangers:
            return None
        return ForgedEvent(conversation_id=conversation_id, reason="member", user_ids=tuple(sorted(strangers)))

    def _record_contradiction(self, conversation_id: UUID, contradiction: ForgedEvent | None) -> None:
        name = str(conversation_id)
        if contradiction is not None:
            self._store.put(kinds.FORGED_CONVERSATION, name, conversation_id.bytes)
            self._add_event(contradiction)
        elif self._store.get(kinds.FORGED_CONVERSATION, name) is not None:
            self._store.put(kinds.FORGED_CONVERSATION, name, None)

    def _without_self(self, members: Collection[UUID]) -> list[UUID]:
        me = LocalDevice.load(self._store).user_id
        return [each for each in members if each != me]

    def _add_newcomers(
        self,
        conversation_id: UUID,
        pin: ConversationPin | None,
        conversation: ConversationMembers,
        expected: ExpectedMembers,
    ) -> bool:
        """Add an event for each new member before anything is sealed for them; the first fetch has no new members. Returns whether the node reports a member who cannot be there."""
        others = self._without_self(conversation.members)
        strangers = expected.unexpected(others, pin.members if pin is not None else others)
        if strangers and expected.is_first:
            self._add_event(
                ForgedEvent(conversation_id=conversation_id, reason="member", user_ids=tuple(sorted(strangers)))
            )
            return True
        for user_id in strangers:
            add_member_event(self._store, conversation_id, user_id)
        self._pins.save(
            conversation_id, (pin or ConversationPin(is_group=True)).with_members(others, conversation.version)
        )
        return False

    def _add_event(self, event: ForgedEvent) -> None:
        Journal(self._store).add_once(event, self._now())


def add_member_event(store: Store, conversation_id: UUID, user_id: UUID) -> None:
    """Notify the user of a new member of a group."""
    is_compared = is_verified(store, user_id)
    Journal(store).add(MemberAdded(conversation_id=conversation_id, user_id=user_id, is_verified=is_compared))


def forged_conversations(store: Store) -> list[UUID]:
    """Conversations whose last report contradicted the pin."""
    return sorted(UUID(bytes=packed) for packed in store.all(kinds.FORGED_CONVERSATION))
