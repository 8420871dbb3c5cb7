"""Decisions that the user has to make, per conversation and account, also after a restart; and the policy for programs without a user."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from uuid import UUID

from vyry.client.crypto.conversation_members import forged_conversations
from vyry.client.crypto.device_lists import fetch_identity_key
from vyry.client.crypto.peers import changed_accounts, changed_key, is_verified
from vyry.client.crypto.unsealing import IncomingEnvelope
from vyry.client.store import kinds
from vyry.client.store.conversation_pins import ConversationPins
from vyry.client.store.events import Event, IdentityChanged, NotSent
from vyry.client.store.outgoing import HeldConversations, SendQueue
from vyry.client.store.packing import unpack
from vyry.client.store.store import Store
from vyry.client.sync.inbox import Inbox
from vyry.client.transport.rest import RestClient
from vyry.signal_protocol import refusals


#: From the one that stops most to the one that stops least.
_ORDER: Final = ("conversationForged", "identityForged", "identityChanged")
_LOG: Final = logging.getLogger("vyry.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision that the user has to make.

    `decide`: identityChanged (the key of `user_id` changed), conversationForged (the node reports other members or another kind of a conversation), or
    identityForged (the node insists on devices whose keys do not verify). `waiting`: own messages that are sent after it; `held`: contents of the account
    that are opened after it. `conversation_id` is None if no known conversation is concerned.
    """

    decide: str
    conversation_id: UUID | None = None
    user_id: UUID | None = None
    waiting: int = 0
    held: int = 0

    @property
    def body(self) -> dict[str, Any]:
        """The fields in camelCase, without those that are None."""
        names = {"conversationId": self.conversation_id, "userId": self.user_id}
        known = {name: str(each) for name, each in names.items() if each is not None}
        return {"decide": self.decide, **known, "waiting": self.waiting, "held": self.held}


class PendingDecisions:
    """Lists the pending decisions, without a request to the node."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pins = ConversationPins(store)
        self._queue = SendQueue(store)
        self._stopped = HeldConversations(store)

    def all(self, among: Iterable[UUID] = ()) -> list[Decision]:
        """All pending decisions, those that stop most first. Conversations in `among` are included even if no message waits there."""
        waiting: dict[UUID, int] = {}
        for outgoing in self._queue.pending():
            if outgoing.lane == "mail":
                waiting[outgoing.conversation_id] = waiting.get(outgoing.conversation_id, 0) + 1
        stopped, found = self._stopped.all(), self._changed_key_decisions({*among}, waiting)
        for conversation_id in {*forged_conversations(self._store), *stopped}:
            reason = stopped.get(conversation_id)
            if reason == refusals.IdentityChanged.__name__:
                continue
            decide = _lower_first(reason or refusals.ConversationForged.__name__)
            count = waiting.get(conversation_id, 0)
            found.append(Decision(decide=decide, conversation_id=conversation_id, waiting=count))
        return sorted(found, key=_rank)

    def of(self, conversation_id: UUID) -> list[Decision]:
        """The decisions that this conversation waits for."""
        return [each for each in self.all([conversation_id]) if each.conversation_id == conversation_id]

    def count_for(self, user_id: UUID) -> tuple[int, int]:
        """Own messages, and contents of this account, that wait for a decision about its key."""
        found = [each for each in self.all() if each.decide == "identityChanged" and each.user_id == user_id]
        return sum(each.waiting for each in found), sum(each.held for each in found)

    def unsent(self, conversation_id: UUID) -> frozenset[UUID]:
        """Own contents still queued for this conversation."""
        return frozenset(each.content_id for each in self._queue.pending() if each.conversation_id == conversation_id)

    def is_over(self, event: Event) -> bool:
        """Whether the event reports a content that waits for a decision, and it no longer waits."""
        return isinstance(event, NotSent) and bool(event.is_kept) and event.id not in self.unsent(event.conversation_id)

    def _changed_key_decisions(self, among: set[UUID], waiting: dict[UUID, int]) -> list[Decision]:
        """A decision for each account with a changed key and each conversation that it concerns."""
        conversations = {*among, *waiting}
        held = [unpack(tuple[int, IncomingEnvelope], packed)[1] for packed in self._store.all(kinds.HELD)]
        found: list[Decision] = []
        for user_id in changed_accounts(self._store):
            held_in = [each.conversation_id for each in held if each.sender.user_id == user_id]
            concerned = {each for each in conversations if self._has_member(user_id, each)} | {*held_in}
            nowhere: set[UUID | None] = {None}
            for conversation_id in concerned or nowhere:
                # In a group the other members get it meanwhile: nothing waits.
                count = (
                    waiting.get(conversation_id, 0)
                    if conversation_id is not None and not self._is_group(conversation_id)
                    else 0
                )
                number = len(held_in) if conversation_id is None else held_in.count(conversation_id)
                about = {"conversation_id": conversation_id, "user_id": user_id}
                found.append(Decision(decide="identityChanged", **about, waiting=count, held=number))
        return found

    def _has_member(self, user_id: UUID, conversation_id: UUID) -> bool:
        pin = self._pins.get(conversation_id)
        return pin is not None and user_id in (pin.peer, *pin.members)

    def _is_group(self, conversation_id: UUID) -> bool:
        pin = self._pins.get(conversation_id)
        return pin is not None and pin.is_group


def _rank(each: Decision) -> tuple[int, str, str]:
    return _ORDER.index(each.decide), str(each.conversation_id), str(each.user_id)


def _lower_first(name: str) -> str:
    return f"{name[0].lower()}{name[1:]}"


class KeyReminders:
    """Keys that had changed before the profile was opened and are undecided: each gets one more event."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decisions = PendingDecisions(store)
        self._accounts = changed_accounts(store)

    def next_event(self) -> IdentityChanged | None:
        """The next reminder, unless its event was delivered or it was decided meanwhile."""
        while self._accounts:
            reminder = self.with_counts(IdentityChanged(user_id=self._accounts[0]))
            if reminder.user_id in changed_accounts(self._store):
                return reminder
        return None

    def with_counts(self, event: IdentityChanged) -> IdentityChanged:
        """The event with the current counts of waiting contents; its reminder is dropped."""
        if event.user_id in self._accounts:
            self._accounts.remove(event.user_id)
        waiting, held = self._decisions.count_for(event.user_id)
        _LOG.warning("identity key of %s changed: %d messages held back, %d unread", event.user_id, waiting, held)
        return replace(event, waiting=waiting, held=held)


#: `ask`: nothing is sent or opened until `safety.accept`. `accept`: the node's key is stored as at first contact, except for accounts whose number was compared.
OnChangedKey = Literal["ask", "accept"]


class ChangedKeyPolicy:
    """Decides about changed keys without a user, as far as it may."""

    def __init__(self, store: Store, rest: RestClient, inbox: Inbox, on_changed_key: OnChangedKey) -> None:
        self._store = store
        self._rest = rest
        self._inbox = inbox
        self._is_accepting = on_changed_key == "accept"

    async def accept_changed(self) -> bool:
        """Store the changed keys that the policy accepts and the node reports; returns whether there was one. The account's other devices are not notified: no person has decided. Raises Unreachable."""
        accounts = (
            [each for each in changed_accounts(self._store) if not is_verified(self._store, each)]
            if self._is_accepting
            else []
        )
        return any([await self._accept(each) for each in accounts])

    async def _accept(self, user_id: UUID) -> bool:
        reported = await fetch_identity_key(self._rest, user_id)
        if reported is None or reported != changed_key(self._store, user_id):
            return False
        await asyncio.to_thread(self._inbox.accept_identity, user_id, reported)
        _LOG.warning("accepted changed identity key of %s (on_changed_key=accept)", user_id)
        return True
