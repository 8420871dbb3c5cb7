"""Invitations: a stranger that adds an account to a group invites it instead. The account becomes a member when it accepts.

Until then it learns the id of the group and the inviter only. A stranger is an account that is no friend, and that the invited account has not written to.
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


#: The most open invitations of an account, and those of one inviter. A new one beyond that replaces the oldest.
MAX_PENDING: Final = 100
MAX_PER_INVITER: Final = 3


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open invitation: the group and the inviter."""

    conversation_id: ConversationId
    inviter: Person
    at: datetime


@dataclass(frozen=True, slots=True)
class InvitationPage:
    """A page of invitations, newest group first; `next_cursor` is None on the last page."""

    invitations: Sequence[Invitation]
    next_cursor: ConversationId | None


class InvitationStore(Protocol):
    """Stores invitations."""

    async def list_pending(self, user: UserId, limit: int, after: ConversationId | None) -> InvitationPage:
        """At most `limit` invitations of this account after the cursor, without those of accounts that block it or are blocked by it."""
        ...

    async def accept(self, user: UserId, conversation_id: ConversationId, now: datetime) -> Conversation:
        """Consume the invitation and add the member, in one transaction. Raises NotFound (no invitation, or the inviter is no admin now), Forbidden (group full, too many groups)."""
        ...

    async def decline(self, user: UserId, conversation_id: ConversationId) -> None:
        """Delete the invitation. Raises NotFound."""
        ...


class Invitations:
    """Lists, accepts and declines invitations."""

    def __init__(self, store: InvitationStore, listener: ConversationListener, clock: Clock) -> None:
        self._store = store
        self._listener = listener
        self._clock = clock

    async def list(self, user: UserId, limit: int, after: ConversationId | None) -> InvitationPage:
        """The open invitations of the user."""
        return await self._store.list_pending(user, limit, after)

    async def accept(self, user: UserId, conversation_id: ConversationId) -> Conversation:
        """Accept an invitation. Raises NotFound, Forbidden."""
        joined = await self._store.accept(user, conversation_id, self._clock.now())
        await self._listener.conversations_changed([conversation_id])
        return joined

    async def decline(self, user: UserId, conversation_id: ConversationId) -> None:
        """Decline an invitation; the inviter is not notified. Raises NotFound."""
        await self._store.decline(user, conversation_id)
