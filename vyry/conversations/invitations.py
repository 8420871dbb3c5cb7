"""Invitations: whom a stranger wants in a group. They are no members until they accept; until then they are told nothing of the group but who invites.

A stranger is who is no friend, and whom the invited one has not written to in their direct conversation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from vyry.clock import Clock
from vyry.contacts.blocks import ConversationListener
from vyry.contacts.discovery import Person
from vyry.conversations.conversations import Conversation
from vyry.kernel.ids import ConversationId, UserId


#: So many wait for an account, and so many of one inviter; the oldest go when more come, so that nobody keeps others out.
MAX_PENDING: Final = 100
MAX_PER_INVITER: Final = 3


@dataclass(frozen=True, slots=True)
class Invitation:
    """A group, and who wants the reader in it."""

    conversation_id: ConversationId
    inviter: Person
    at: datetime


@dataclass(frozen=True, slots=True)
class InvitationPage:
    """A part of the invitations, newest group first; `next_cursor` is None at the end."""

    invitations: Sequence[Invitation]
    next_cursor: ConversationId | None


class InvitationStore(Protocol):
    """Where invitations are kept."""

    async def list_pending(self, user: UserId, limit: int, after: ConversationId | None) -> InvitationPage:
        """Those of this account, from just after that group; none of people who block it, or whom it blocks."""
        ...

    async def accept(self, user: UserId, conversation_id: ConversationId, now: datetime) -> Conversation:
        """Become a member, both or neither. Raises NotFound (no invitation, or its maker leads the group no more), Forbidden (full, too many groups)."""
        ...

    async def decline(self, user: UserId, conversation_id: ConversationId) -> None:
        """Forget it. Raises NotFound."""
        ...


class Invitations:
    """What a person may do with invitations."""

    def __init__(self, store: InvitationStore, changes: ConversationListener, clock: Clock) -> None:
        self._store = store
        self._listener = changes
        self._clock = clock

    async def list(self, user: UserId, limit: int, after: ConversationId | None) -> InvitationPage:
        """The groups that wait for the user's word."""
        return await self._store.list_pending(user, limit, after)

    async def accept(self, user: UserId, conversation_id: ConversationId) -> Conversation:
        """Become a member. Raises NotFound, Forbidden."""
        joined = await self._store.accept(user, conversation_id, self._clock.now())
        await self._listener.conversations_changed([conversation_id])
        return joined

    async def decline(self, user: UserId, conversation_id: ConversationId) -> None:
        """Say no; nobody is told. Raises NotFound."""
        await self._store.decline(user, conversation_id)
