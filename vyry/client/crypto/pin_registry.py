"""All pins of this profile: exported for another own device, and merged from one. Merged pins never overwrite stored ones."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from vyry.client.crypto.identity_decisions import IdentityDecisions
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, known_identities, mark_verified, record_changed_key
from vyry.client.store.conversation_pins import ConversationPin, ConversationPins
from vyry.client.store.events import ConversationForged
from vyry.client.store.journal import Journal, newest_number
from vyry.client.store.remembered_names import RememberedNames
from vyry.client.store.store import Store
from vyry.signal_protocol.pins import MAX_MEMBERS, DirectPin, GroupPin, IdentityPin, NamePin, Pin, PinSet, is_name


class PinRegistry:
    """Reads and writes pins, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._pins = ConversationPins(store)
        self._names = RememberedNames(store)
        self._decisions = IdentityDecisions(store)
        self._journal = Journal(store)

    def all_pins(self) -> Sequence[Pin]:
        """Every pin: people before groups, people with a compared key first, then those with the most recent messages."""
        by_account: dict[UUID, list[Pin]] = {}
        recent: dict[UUID, int] = {}
        for user_id, _ in known_identities(self._store):
            if (identity_pin := self._decisions.current_pin(user_id)) is not None:
                by_account.setdefault(user_id, []).append(identity_pin)
        groups: list[tuple[int, Pin]] = []
        for conversation_id, pin in self._pins.all():
            newest = newest_number(self._store, conversation_id)
            if pin.is_group:
                members = tuple(sorted(pin.members))[:MAX_MEMBERS]
                groups.append((-newest, GroupPin(conversation_id, members)))
            elif pin.peer is not None:
                recent[pin.peer] = newest
                by_account.setdefault(pin.peer, []).append(DirectPin(conversation_id, pin.peer))
        for user_id, name in self._all_names():
            by_account.setdefault(user_id, []).append(NamePin(name, user_id))
        people = sorted(by_account.items(), key=lambda each: (not _is_compared(each[1]), -recent.get(each[0], 0)))
        in_order = [pin for _, pins in people for pin in pins]
        return in_order + [pin for _, pin in sorted(groups, key=lambda each: each[0])]

    def merge(self, received: PinSet, now: int) -> None:
        """Store the pins of another own device. A stored pin that differs stays, and the difference becomes an event: `identityChanged`, `conversationForged`."""
        me = LocalDevice.load(self._store).user_id
        for each in received.identities:
            if each.user_id != me:
                self._merge_identity(each)
        for direct in received.directs:
            self._merge_conversation(direct.conversation_id, ConversationPin(is_group=False, peer=direct.user_id), now)
        for group in received.groups:
            self._merge_conversation(group.conversation_id, ConversationPin(is_group=True, members=group.members), now)
        for name in received.names:
            if self._names.account(name.name) is None:
                self._names.save(name.name, name.user_id)

    def _merge_identity(self, received: IdentityPin) -> None:
        """A verification belongs to its key, and does not count when a person has decided here since."""
        stored, decided_at = self._peers.identity_key(received.user_id), self._decisions.decided_at(received.user_id)
        if received.at < decided_at:
            return
        if stored not in (None, received.identity_key):
            record_changed_key(self._store, received.user_id, received.identity_key)
            return
        if stored is not None:
            if received.at > decided_at:
                self._decisions.apply(received)
            return
        self._peers.save_identity(received.user_id, received.identity_key)
        mark_verified(self._store, received.user_id, is_verified=received.is_verified)
        self._decisions.set_decided_at(received.user_id, received.at)

    def _merge_conversation(self, conversation_id: UUID, received: ConversationPin, now: int) -> None:
        stored = self._pins.get(conversation_id)
        if stored is None:
            self._pins.save(conversation_id, received)
        elif stored.is_group != received.is_group:
            self._journal.add_once(ConversationForged(conversation_id=conversation_id, reason="kind"), now)
        elif stored.peer is None and received.peer is not None:
            self._pins.save(conversation_id, received)
        elif stored.peer != received.peer:
            members = (received.peer,) if received.peer is not None else ()
            event = ConversationForged(conversation_id=conversation_id, reason="member", user_ids=members)
            self._journal.add_once(event, now)

    def _all_names(self) -> Iterator[tuple[UUID, str]]:
        for each in self._names.all():
            yield from ((each.user_id, name) for name in each.names if is_name(name))


def _is_compared(pins: Sequence[Pin]) -> bool:
    return any(isinstance(each, IdentityPin) and each.is_verified for each in pins)
