"""Shapes of groups and their invites (docs/protocol.md, "Groups")."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from vyry.circles.conversations import Role
from vyry.circles.groups import Edit, MemberPage
from vyry.circles.invites import Invite, InvitePage, Terms
from web.wire.conversations import ConversationMember, ConversationsQuery, Ids, SealedInfo
from web.wire.shapes import Count, Id, Moment, Wire


class EditConversation(Wire):
    """What is to be another; what is not named stays, null clears. `version` is the one that the editor saw."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    sealed_info: SealedInfo | None = None
    message_timer_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None

    def value(self) -> Edit:
        """As the domain has it."""
        named = self.model_fields_set
        info = "sealed_info" in named, self.sealed_info
        return Edit(self.version, *info, "message_timer_seconds" in named, self.message_timer_seconds)


class AddMembers(Wire):
    """Who is to be a member."""

    user_ids: Annotated[Ids, Field(min_length=1, max_length=999)]


class AssignRole(Wire):
    """What a member may do from now on."""

    role: Literal["admin", "member"]

    def value(self) -> Role:
        """As the domain has it."""
        return Role(self.role)


class MembersQuery(ConversationsQuery):
    """Which part of the members; the cursor is the `nextCursor` of the part before."""


class MemberList(Wire):
    """A part of the members, by rising id."""

    members: Sequence[ConversationMember]
    next_cursor: Id | None

    @classmethod
    def of(cls, page: MemberPage) -> "MemberList":
        """As the wire has it."""
        members = [ConversationMember.of(user, member) for user, member in page.members.items()]
        return cls(members=members, next_cursor=page.next_cursor)


class CreateInvite(Wire):
    """How long it is to hold, and how many may join by it."""

    expires_in_seconds: Annotated[int, Field(ge=1, le=2_592_000)] = 604_800
    max_uses: Annotated[int, Field(ge=1, le=1_000)] = 100

    def value(self) -> Terms:
        """As the domain has it."""
        return Terms(timedelta(seconds=self.expires_in_seconds), self.max_uses)


class NewInvite(Wire):
    """An invite with its token, which is told this once. `url` holds the token behind `#`, where no server sees it."""

    invite_id: Id
    token: str
    url: str
    expires_at: Moment
    max_uses: Count

    @classmethod
    def of(cls, invite: Invite, token: str, origin: str) -> "NewInvite":
        """As the wire has it."""
        return cls(
            invite_id=invite.invite_id,
            token=token,
            url=f"{origin}/#/invites/{token}",
            expires_at=invite.expires_at,
            max_uses=invite.max_uses,
        )


class HeldInvite(Wire):
    """An invite that holds; `userId` made it."""

    invite_id: Id
    user_id: Id
    max_uses: Count
    uses: Count
    created_at: Moment
    expires_at: Moment


class InvitesQuery(ConversationsQuery):
    """Which part of the invites; the cursor is the `nextCursor` of the part before."""


class InviteList(Wire):
    """A part of the invites that hold, newest made first."""

    invites: Sequence[HeldInvite]
    next_cursor: Id | None

    @classmethod
    def of(cls, page: InvitePage) -> "InviteList":
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
