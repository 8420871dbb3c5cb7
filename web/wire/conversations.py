"""Shapes of conversations (docs/protocol.md, "Circles")."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from vyry.circles.conversations import Conversation, ConversationPage
from web.wire.shapes import Base64, Count, Id, Moment, Wire


def _served(kind: object) -> object:
    if kind == "group":
        raise ValueError("group conversations are not served yet")
    return kind


class OpenConversation(Wire):
    """With whom to talk. Group conversations are not served yet."""

    kind: Annotated[Literal["direct"], BeforeValidator(_served)]
    user_id: Id


class ConversationsQuery(Wire):
    """Which part of the list; the cursor is the `nextCursor` of the part before."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Id | None = None


class ConversationMember(Wire):
    """Somebody's place in a conversation."""

    user_id: Id
    role: Literal["admin", "member"]
    joined_at: Moment


class ConversationView(Wire):
    """A conversation as its members see it."""

    conversation_id: Id
    kind: Literal["direct", "group"]
    members: Sequence[ConversationMember]
    sealed_info: Base64 | None
    version: Count
    message_timer_seconds: Count | None
    last_activity_at: Moment
    created_at: Moment

    @classmethod
    def of(cls, conversation: Conversation) -> "ConversationView":
        """As the wire has it."""
        return cls(
            conversation_id=conversation.conversation_id,
            kind=conversation.kind.value,
            members=[
                ConversationMember(user_id=user, role=member.role.value, joined_at=member.joined_at)
                for user, member in conversation.members.items()
            ],
            sealed_info=conversation.sealed_info,
            version=conversation.version,
            message_timer_seconds=conversation.message_timer_seconds,
            last_activity_at=conversation.last_activity_at,
            created_at=conversation.created_at,
        )


class ConversationList(Wire):
    """A part of the caller's conversations, newest made first."""

    conversations: Sequence[ConversationView]
    next_cursor: Id | None

    @classmethod
    def of(cls, page: ConversationPage) -> "ConversationList":
        """As the wire has it."""
        return cls(
            conversations=[ConversationView.of(each) for each in page.conversations], next_cursor=page.next_cursor
        )
