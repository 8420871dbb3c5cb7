"""Invites: a way into a group for whoever has its token. The node keeps only the token's hash."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.tokens import hash_token
from vyry.clock import Clock
from vyry.contacts.blocks import ConversationListener
from vyry.conversations.conversations import Conversation
from vyry.conversations.groups import MAX_MEMBERS, add_members
from vyry.errors import Forbidden
from vyry.kernel.ids import ConversationId, UserId, new_id


#: So many invites a group has at most that hold.
MAX_INVITE_LINKS: Final = 100
_TOKEN_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class InviteLink:
    """A way in, without its token. `user_id` made it; it ends when that one is no admin any more."""

    invite_id: UUID
    conversation_id: ConversationId
    user_id: UserId
    max_uses: int
    uses: int
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class InviteLinkTerms:
    """How long an invite holds, and how many may use it."""

    lifetime: timedelta
    max_uses: int


@dataclass(frozen=True, slots=True)
class InviteLinkPage:
    """A part of the invites, newest made first; `next_cursor` is None at the end."""

    invites: Sequence[InviteLink]
    next_cursor: UUID | None


class InviteLinkStore(Protocol):
    """Where invites are kept."""

    async def create(self, invite: InviteLink, token_hash: str) -> None:
        """Keep it. Raises NotFound for outsiders, Forbidden for members who are no admin or when the group has `MAX_INVITES` that hold."""
        ...

    async def list_active(self, admin: UserId, conversation_id: ConversationId, now: datetime) -> list[InviteLink]:
        """Those that hold, used up ones too, newest made first. Raises as `create`."""
        ...

    async def revoke(self, admin: UserId, conversation_id: ConversationId, invite_id: UUID) -> None:
        """Forget it. Raises as `create`, and NotFound when the group has no such invite."""
        ...

    async def join(self, user: UserId, token_hash: str, now: datetime) -> Conversation:
        """Claim a use of it and become a member, both or neither; however many claim at once, no more than `max_uses` get in.

        A member gets the conversation and uses nothing. Raises NotFound for an invite that there is not, that ended or is used up; Forbidden for a
        group without room and for somebody in too many groups. Everything else is as with `GroupStore.alter`.
        """
        ...


class InviteLinks:
    """What a person may do with invites."""

    def __init__(self, store: InviteLinkStore, changes: ConversationListener, clock: Clock) -> None:
        self._store = store
        self._listener = changes
        self._clock = clock

    async def create(
        self, maker: UserId, conversation_id: ConversationId, terms: InviteLinkTerms
    ) -> tuple[InviteLink, str]:
        """A new invite and its token, which is told this once. Raises NotFound, Forbidden."""
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), self._clock.now()
        invite = InviteLink(new_id(), conversation_id, maker, terms.max_uses, 0, now, now + terms.lifetime)
        await self._store.create(invite, hash_token(token))
        return invite, token

    async def list(
        self, viewer: UserId, conversation_id: ConversationId, limit: int, after: UUID | None
    ) -> InviteLinkPage:
        """The invites that hold, for admins. Raises NotFound, Forbidden."""
        held = await self._store.list_active(viewer, conversation_id, self._clock.now())
        rest = [invite for invite in held if after is None or invite.invite_id < after]
        return InviteLinkPage(rest[:limit], rest[limit - 1].invite_id if len(rest) > limit else None)

    async def revoke(self, admin: UserId, conversation_id: ConversationId, invite_id: UUID) -> None:
        """Nobody comes in by it any more. Raises NotFound, Forbidden."""
        await self._store.revoke(admin, conversation_id, invite_id)

    async def join(self, user: UserId, token: str) -> Conversation:
        """Become a member by an invite. Raises NotFound, Forbidden."""
        joined = await self._store.join(user, hash_token(token), self._clock.now())
        await self._listener.conversations_changed([joined.conversation_id])
        return joined


def join_by_link(conversation: Conversation, user: UserId, now: datetime) -> Conversation:
    """With this member more, if they are none yet. Raises Forbidden when there is no room."""
    grown = add_members(conversation, [user], now)
    if len(grown.members) > MAX_MEMBERS:
        raise Forbidden("The group is full.")
    return grown
