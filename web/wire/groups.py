"""Shapes of groups and their invites (docs/protocol.md, "Groups")."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from vyry.conversations.conversations import Role
from vyry.conversations.groups import ConversationEdit, MemberPage
from vyry.conversations.invite_links import InviteLink, InviteLinkPage, InviteLinkTerms
from web.wire.conversations import ConversationMember, ConversationsQuery, DistinctIds, SealedInfo
from web.wire.shapes import Count, Id, Timestamp, WireModel


class EditConversation(WireModel):
    """What is to be another; what is not named stays, null clears. `version` is the one that the editor saw."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    sealed_info: SealedInfo | None = None
    message_timer_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None

    def to_domain(self) -> ConversationEdit:
        """As the domain has it."""
        named = self.model_fields_set
        info = "sealed_info" in named, self.sealed_info
        return ConversationEdit(self.version, *info, "message_timer_seconds" in named, self.message_timer_seconds)


class AddMembers(WireModel):
    """Who is to be a member."""

    user_ids: Annotated[DistinctIds, Field(min_length=1, max_length=999)]


class AssignRole(WireModel):
    """What a member may do from now on."""

    role: Literal["admin", "member"]

    def to_domain(self) -> Role:
        """As the domain has it."""
        return Role(self.role)


class MembersQuery(ConversationsQuery):
    """Which part of the members; the cursor is the `nextCursor` of the part before."""


class MemberList(WireModel):
    """A part of the members, by rising id."""

    members: Sequence[ConversationMember]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: MemberPage) -> "MemberList":
        """As the wire has it."""
        members = [ConversationMember.from_domain(user, member) for user, member in page.members.items()]
        return cls(members=members, next_cursor=page.next_cursor)


class CreateInvite(WireModel):
    """How long it is to hold, and how many may join by it."""

    expires_in_seconds: Annotated[int, Field(ge=1, le=2_592_000)] = 604_800
    max_uses: Annotated[int, Field(ge=1, le=1_000)] = 100

    def to_domain(self) -> InviteLinkTerms:
        """As the domain has it."""
        return InviteLinkTerms(timedelta(seconds=self.expires_in_seconds), self.max_uses)


class NewInvite(WireModel):
    """An invite with its token, which is told this once. `url` holds the token behind `#`, where no server sees it."""

    invite_id: Id
    token: str
    url: str
    expires_at: Timestamp
    max_uses: Count

    @classmethod
    def from_domain(cls, invite: InviteLink, token: str, origin: str) -> "NewInvite":
        """As the wire has it."""
        return cls(
            invite_id=invite.invite_id,
            token=token,
            url=f"{origin}/#/invites/{token}",
            expires_at=invite.expires_at,
            max_uses=invite.max_uses,
        )


class HeldInvite(WireModel):
    """An invite that holds; `userId` made it."""

    invite_id: Id
    user_id: Id
    max_uses: Count
    uses: Count
    created_at: Timestamp
    expires_at: Timestamp


class InvitesQuery(ConversationsQuery):
    """Which part of the invites; the cursor is the `nextCursor` of the part before."""


class InviteList(WireModel):
    """A part of the invites that hold, newest made first."""

    invites: Sequence[HeldInvite]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: InviteLinkPage) -> "InviteList":
        """As the wire has it."""
        return cls(
            invites=[
                HeldInvite(
                    invite_id=each.invite_id,
                    user_id=each.user_id,
                    max_uses=each.max_uses,
                    uses=each.uses,
                    created_at=each.created_at,
                    expires_at=each.expires_at,
                )
                for each in page.invites
            ],
            next_cursor=page.next_cursor,
        )
