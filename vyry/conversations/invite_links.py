"""Invite links: an account with the token of a link can join the group. The node stores the hash of the token only."""

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


#: The most active invite links of a group.
MAX_INVITE_LINKS: Final = 100
_TOKEN_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class InviteLink:
    """An invite link, without its token. `user_id` created it; it ends when that member is no admin any more."""

    invite_id: UUID
    conversation_id: ConversationId
    user_id: UserId
    max_uses: int
    uses: int
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class InviteLinkTerms:
    """How long an invite link is valid, and how often it can be used."""

    lifetime: timedelta
    max_uses: int


@dataclass(frozen=True, slots=True)
class InviteLinkPage:
    """A page of invite links, newest first; `next_cursor` is None on the last page."""

    invites: Sequence[InviteLink]
    next_cursor: UUID | None


class InviteLinkStore(Protocol):
    """Stores invite links."""

    async def create(self, invite: InviteLink, token_hash: str) -> None:
        """Save a link. Raises NotFound for an account that is no member, Forbidden for one that is no admin or if the group has MAX_INVITE_LINKS active ones."""
        ...

    async def list_active(self, admin: UserId, conversation_id: ConversationId, now: datetime) -> list[InviteLink]:
        """The links that have not expired, newest first; used up ones are included. Raises as `create`."""
        ...

    async def revoke(self, admin: UserId, conversation_id: ConversationId, invite_id: UUID) -> None:
        """Delete a link. Raises as `create`, and NotFound if the group has no such link."""
        ...

    async def join(self, user: UserId, token_hash: str, now: datetime) -> Conversation:
        """Consume a use of the link and add the member, in one transaction; concurrent calls never exceed `max_uses`.

        A member gets the conversation and consumes nothing. Raises NotFound for a link that is unknown, expired or used up; Forbidden for a full group
        and for an account in too many groups. Notices and versions are as with `GroupStore.change`.
        """
        ...


class InviteLinks:
    """Creates, lists and revokes invite links, and joins groups by them."""

    def __init__(self, store: InviteLinkStore, listener: ConversationListener, clock: Clock) -> None:
        self._store = store
        self._listener = listener
        self._clock = clock

    async def create(
        self, maker: UserId, conversation_id: ConversationId, terms: InviteLinkTerms
    ) -> tuple[InviteLink, str]:
        """Create a link; its token is returned this once. Raises NotFound, Forbidden."""
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), self._clock.now()
        invite = InviteLink(new_id(), conversation_id, maker, terms.max_uses, 0, now, now + terms.lifetime)
        await self._store.create(invite, hash_token(token))
        return invite, token

    async def list(
        self, viewer: UserId, conversation_id: ConversationId, limit: int, after: UUID | None
    ) -> InviteLinkPage:
        """The active links, for admins. Raises NotFound, Forbidden."""
        active = await self._store.list_active(viewer, conversation_id, self._clock.now())
        rest = [invite for invite in active if after is None or invite.invite_id < after]
        return InviteLinkPage(rest[:limit], rest[limit - 1].invite_id if len(rest) > limit else None)

    async def revoke(self, admin: UserId, conversation_id: ConversationId, invite_id: UUID) -> None:
        """Revoke a link. Raises NotFound, Forbidden."""
        await self._store.revoke(admin, conversation_id, invite_id)

    async def join(self, user: UserId, token: str) -> Conversation:
        """Join the group of a link. Raises NotFound, Forbidden."""
        joined = await self._store.join(user, hash_token(token), self._clock.now())
        await self._listener.conversations_changed([joined.conversation_id])
        return joined


def join_by_link(conversation: Conversation, user: UserId, now: datetime) -> Conversation:
    """Add a member, if it is none yet. Raises Forbidden if the group is full."""
    grown = add_members(conversation, [user], now)
    if len(grown.members) > MAX_MEMBERS:
        raise Forbidden("The group is full.")
    return grown
