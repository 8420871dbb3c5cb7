"""Shapes of conversations that several features share (docs/protocol.md, "Conversations")."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from vyry.conversations.conversations import Conversation, Member, OpenedConversation
from vyry.kernel.ids import UserId
from web.wire.shapes import Base64, Base64Bytes, Count, Id, Timestamp, WireModel


def _reject_duplicates(ids: list[UUID]) -> list[UUID]:
    if len(set(ids)) < len(ids):
        raise ValueError("duplicate user id")
    return ids


#: Title and picture, encrypted by the members.
SealedInfo = Annotated[bytes, Base64Bytes(0, 8 << 10)]
#: User ids without duplicates.
DistinctIds = Annotated[list[Id], AfterValidator(_reject_duplicates), Field(json_schema_extra={"uniqueItems": True})]


class ConversationMember(WireModel):
    """A member of a conversation."""

    user_id: Id
    role: Literal["admin", "member"]
    joined_at: Timestamp

    @classmethod
    def from_domain(cls, user: UserId, member: Member) -> "ConversationMember":
        """The shape of this domain value."""
        return cls(user_id=user, role=member.role.value, joined_at=member.joined_at)


class ConversationView(WireModel):
    """A conversation, as its members read it."""

    conversation_id: Id
    kind: Literal["direct", "group"]
    members: Sequence[ConversationMember]
    sealed_info: Base64 | None
    version: Count
    message_timer_seconds: Count | None
    last_activity_at: Timestamp
    created_at: Timestamp

    @classmethod
    def from_domain(cls, conversation: Conversation) -> "ConversationView":
        """The shape of this domain value."""
        return cls(
            conversation_id=conversation.conversation_id,
            kind=conversation.kind.value,
            members=[ConversationMember.from_domain(user, member) for user, member in conversation.members.items()],
            sealed_info=conversation.sealed_info,
            version=conversation.version,
            message_timer_seconds=conversation.message_timer_seconds,
            last_activity_at=conversation.last_activity_at,
            created_at=conversation.created_at,
        )


class OpenedView(ConversationView):
    """A conversation, and the users that were invited instead of added: non-friends join when they accept."""

    invited: Sequence[Id]

    @classmethod
    def from_opened(cls, opened: OpenedConversation) -> "OpenedView":
        """The shape of this domain value."""
        view = ConversationView.from_domain(opened.conversation)
        return cls(**{name: getattr(view, name) for name in ConversationView.model_fields}, invited=opened.invited)
