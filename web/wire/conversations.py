"""Shapes of conversations (docs/protocol.md, "Circles")."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from vyry.conversations.conversations import Conversation, ConversationPage, Member, OpenedConversation
from vyry.errors import InvalidRequest
from vyry.kernel.ids import UserId
from web.wire.shapes import Base64, Base64Bytes, Count, Id, Timestamp, WireModel


def _reject_duplicates(ids: list[UUID]) -> list[UUID]:
    if len(set(ids)) < len(ids):
        raise ValueError("somebody is named twice")
    return ids


#: Title and picture, as the members encrypt them.
SealedInfo = Annotated[bytes, Base64Bytes(0, 8 << 10)]
#: People, each once.
DistinctIds = Annotated[list[Id], AfterValidator(_reject_duplicates), Field(json_schema_extra={"uniqueItems": True})]


class OpenConversation(WireModel):
    """With whom to talk: direct has `userId`; group has `memberIds` (everybody but oneself) and `sealedInfo`, or not."""

    kind: Literal["direct", "group"]
    user_id: Id | None = None
    member_ids: Annotated[DistinctIds, Field(max_length=999)] | None = None
    sealed_info: SealedInfo | None = None

    def direct_user_id(self) -> UUID | None:
        """With whom, if it is a direct one. Raises InvalidRequest when the fields are not those of its kind."""
        if self.kind == "direct":
            _reject_fields("direct", {"memberIds": self.member_ids, "sealedInfo": self.sealed_info})
            if self.user_id is None:
                raise InvalidRequest(fields=[{"field": "userId", "problem": "direct needs userId"}])
            return self.user_id
        _reject_fields("group", {"userId": self.user_id})
        return None


def _reject_fields(kind: str, strange: Mapping[str, object]) -> None:
    if named := [name for name, value in strange.items() if value is not None]:
        raise InvalidRequest(fields=[{"field": name, "problem": f"{kind} has no {name}"} for name in named])


class ConversationsQuery(WireModel):
    """Which part of the list; the cursor is the `nextCursor` of the part before."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Id | None = None


class ConversationMember(WireModel):
    """Somebody's place in a conversation."""

    user_id: Id
    role: Literal["admin", "member"]
    joined_at: Timestamp

    @classmethod
    def from_domain(cls, user: UserId, member: Member) -> "ConversationMember":
        """As the wire has it."""
        return cls(user_id=user, role=member.role.value, joined_at=member.joined_at)


class ConversationView(WireModel):
    """A conversation as its members see it."""

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
        """As the wire has it."""
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
    """A conversation, and those who were invited instead of added: strangers come in when they accept."""

    invited: Sequence[Id]

    @classmethod
    def from_opened(cls, opened: OpenedConversation) -> "OpenedView":
        """As the wire has it."""
        view = ConversationView.from_domain(opened.conversation)
        return cls(**{name: getattr(view, name) for name in ConversationView.model_fields}, invited=opened.invited)


class ConversationList(WireModel):
    """A part of the caller's conversations, newest made first."""

    conversations: Sequence[ConversationView]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: ConversationPage) -> "ConversationList":
        """As the wire has it."""
        return cls(
            conversations=[ConversationView.from_domain(each) for each in page.conversations],
            next_cursor=page.next_cursor,
        )
