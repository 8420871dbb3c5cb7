"""Shapes of invitations into groups (docs/protocol.md, "Groups")."""

from collections.abc import Sequence

from vyry.conversations.invitations import Invitation, InvitationPage
from web.wire.shapes import Id, Timestamp, WireModel


class InvitationView(WireModel):
    """A group, and who wants the caller in it."""

    conversation_id: Id
    user_id: Id
    username: str | None
    display_name: str | None
    picture_attachment_id: Id | None
    invited_at: Timestamp

    @classmethod
    def from_domain(cls, invitation: Invitation) -> "InvitationView":
        """As the wire has it."""
        inviter = invitation.inviter
        return cls(
            conversation_id=invitation.conversation_id,
            user_id=inviter.user_id,
            username=inviter.username,
            display_name=inviter.display_name,
            picture_attachment_id=inviter.picture_attachment_id,
            invited_at=invitation.at,
        )


class InvitationList(WireModel):
    """A part of the caller's invitations, newest made group first."""

    invitations: Sequence[InvitationView]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: InvitationPage) -> "InvitationList":
        """As the wire has it."""
        return cls(
            invitations=[InvitationView.from_domain(each) for each in page.invitations], next_cursor=page.next_cursor
        )
