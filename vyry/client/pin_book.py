"""All pins of this profile, as they are handed to another own device, and those that another one hands over: they never overwrite what is held."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from vyry.client.conversation_pins import ConversationPin, Pins
from vyry.client.decided import Decisions
from vyry.client.device import Me
from vyry.client.events import ConversationForged
from vyry.client.journal import Journal, newest_said
from vyry.client.names import RememberedNames
from vyry.client.peers import Peers, known_identities, mark_verified, note_changed
from vyry.client.store import Store
from vyry.signal_protocol.pins import MAX_MEMBERS, DirectPin, GroupPin, HandedPins, IdentityPin, NamePin, Pin, is_name


class PinBook:
    """Reads and writes them, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._pins = Pins(store)
        self._names = RememberedNames(store)
        self._decisions = Decisions(store)
        self._journal = Journal(store)

    def held(self) -> Sequence[Pin]:
        """Every pin: people before groups, people with a compared key first, then by what was said with them last."""
        found: dict[UUID, list[Pin]] = {}
        recent: dict[UUID, int] = {}
        for user_id, _ in known_identities(self._store):
            if (state := self._decisions.state(user_id)) is not None:
                found.setdefault(user_id, []).append(state)
        groups: list[tuple[int, Pin]] = []
        for conversation_id, pin in self._pins.all():
            newest = newest_said(self._store, conversation_id)
            if pin.is_group:
                members = tuple(sorted(pin.members))[:MAX_MEMBERS]
                groups.append((-newest, GroupPin(conversation_id, members)))
            elif pin.peer is not None:
                recent[pin.peer] = newest
                found.setdefault(pin.peer, []).append(DirectPin(conversation_id, pin.peer))
        for user_id, name in self._all_names():
            found.setdefault(user_id, []).append(NamePin(name, user_id))
        people = sorted(found.items(), key=lambda each: (not _is_compared(each[1]), -recent.get(each[0], 0)))
        in_order = [pin for _, pins in people for pin in pins]
        return in_order + [pin for _, pin in sorted(groups, key=lambda each: each[0])]

    def take(self, handed: HandedPins, now: int) -> None:
        """Pin what another own device has pinned. What is pinned otherwise here stays, and becomes an event: `identityChanged`, `conversationForged`."""
        me = Me.of(self._store).user_id
        for each in handed.identities:
            if each.user_id != me:
                self._take_identity(each)
        for direct in handed.directs:
            self._take_conversation(direct.conversation_id, ConversationPin(is_group=False, peer=direct.user_id), now)
        for group in handed.groups:
            self._take_conversation(group.conversation_id, ConversationPin(is_group=True, members=group.members), now)
        for name in handed.names:
            if self._names.account(name.name) is None:
                self._names.keep(name.name, name.user_id)

    def _take_identity(self, handed: IdentityPin) -> None:
        """A mark comes with the key that it was made for, and not when a person decided here since."""
        held, decided_at = self._peers.identity(handed.user_id), self._decisions.at(handed.user_id)
        if handed.at < decided_at:
            return
        if held not in (None, handed.identity_key):
            note_changed(self._store, handed.user_id, handed.identity_key)
            return
        if held is not None:
            if handed.at > decided_at:
                self._decisions.hold(handed)
            return
        self._peers.keep_identity(handed.user_id, handed.identity_key)
        mark_verified(self._store, handed.user_id, is_verified=handed.is_verified)
        self._decisions.keep_at(handed.user_id, handed.at)

    def _take_conversation(self, conversation_id: UUID, handed: ConversationPin, now: int) -> None:
        held = self._pins.get(conversation_id)
        if held is None:
            self._pins.keep(conversation_id, handed)
        elif held.is_group != handed.is_group:
            self._journal.add_once(ConversationForged(conversation_id=conversation_id, reason="kind"), now)
        elif held.peer is None and handed.peer is not None:
            self._pins.keep(conversation_id, handed)
        elif held.peer != handed.peer:
            strange = (handed.peer,) if handed.peer is not None else ()
            event = ConversationForged(conversation_id=conversation_id, reason="member", user_ids=strange)
            self._journal.add_once(event, now)

    def _all_names(self) -> Iterator[tuple[UUID, str]]:
        for each in self._names.all():
            yield from ((each.user_id, name) for name in each.names if is_name(name))


def _is_compared(pins: Sequence[Pin]) -> bool:
    return any(isinstance(each, IdentityPin) and each.is_verified for each in pins)
