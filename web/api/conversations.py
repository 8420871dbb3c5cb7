"""Conversations, and invitations into groups (docs/protocol.md, "Conversations" and "Groups")."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field

from vyry.conversations.conversations import ConversationPage
from vyry.conversations.invitations import Invitation, InvitationPage
from vyry.errors import Forbidden, InvalidRequest, NotFound
from vyry.kernel.ids import ConversationId, UserId
from vyry.limits import NEW_CONTACTS
from web.app_keys import CALLER, GRANTS, SERVICES
from web.bodies import json_response, path_id, read_body, read_query
from web.route import Route
from web.wire.conversations import ConversationView, DistinctIds, OpenedView, SealedInfo
from web.wire.shapes import Id, Nothing, PageQuery, Timestamp, WireModel


class OpenConversation(WireModel):
    """The conversation to open: direct needs `userId`; group takes `memberIds` (all but the caller) and `sealedInfo`, both optional."""

    kind: Literal["direct", "group"]
    user_id: Id | None = None
    member_ids: Annotated[DistinctIds, Field(max_length=999)] | None = None
    sealed_info: SealedInfo | None = None

    def direct_user_id(self) -> UUID | None:
        """The other user of a direct conversation; None for a group. Raises InvalidRequest for a field of the other kind."""
        if self.kind == "direct":
            _reject_fields("direct", {"memberIds": self.member_ids, "sealedInfo": self.sealed_info})
            if self.user_id is None:
                raise InvalidRequest(fields=[{"field": "userId", "problem": "userId is required for kind direct"}])
            return self.user_id
        _reject_fields("group", {"userId": self.user_id})
        return None


def _reject_fields(kind: str, fields: Mapping[str, object]) -> None:
    if given := [name for name, value in fields.items() if value is not None]:
        raise InvalidRequest(
            fields=[{"field": name, "problem": f"{name} is not allowed for kind {kind}"} for name in given]
        )


class ConversationList(WireModel):
    """A page of the caller's conversations, newest first."""

    conversations: Sequence[ConversationView]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: ConversationPage) -> "ConversationList":
        """The shape of this domain value."""
        return cls(
            conversations=[ConversationView.from_domain(each) for each in page.conversations],
            next_cursor=page.next_cursor,
        )


class InvitationView(WireModel):
    """A group, and the user that invited the caller."""

    conversation_id: Id
    user_id: Id
    username: str | None
    display_name: str | None
    picture_attachment_id: Id | None
    invited_at: Timestamp

    @classmethod
    def from_domain(cls, invitation: Invitation) -> "InvitationView":
        """The shape of this domain value."""
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
    """A page of the caller's invitations, newest group first."""

    invitations: Sequence[InvitationView]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: InvitationPage) -> "InvitationList":
        """The shape of this domain value."""
        return cls(
            invitations=[InvitationView.from_domain(each) for each in page.invitations], next_cursor=page.next_cursor
        )


async def create(request: web.Request) -> web.Response:
    """POST /conversations."""
    wanted, opener = await read_body(request, OpenConversation), request[CALLER].user_id
    services = request.app[SERVICES]
    if (other := wanted.direct_user_id()) is not None:
        opened = await services.conversations.open_direct(opener, UserId(other))
    else:
        others = [UserId(user) for user in wanted.member_ids or ()]
        opened = await services.contacts.groups.create(opener, others, wanted.sealed_info)
    request[GRANTS] = list(opened.grants)
    return json_response(OpenedView.from_opened(opened), status=201 if opened.is_new else 200)


async def show(request: web.Request) -> web.Response:
    """GET /conversations/{conversationId}."""
    wanted = ConversationId(path_id(request, "conversationId"))
    return json_response(
        ConversationView.from_domain(await request.app[SERVICES].conversations.load(request[CALLER].user_id, wanted))
    )


async def list_conversations(request: web.Request) -> web.Response:
    """GET /conversations."""
    query = read_query(request, PageQuery)
    after = ConversationId(query.cursor) if query.cursor else None
    return json_response(
        ConversationList.from_domain(
            await request.app[SERVICES].conversations.list(request[CALLER].user_id, query.limit, after)
        )
    )


async def list_invitations(request: web.Request) -> web.Response:
    """GET /conversations/invitations."""
    query = read_query(request, PageQuery)
    after = ConversationId(query.cursor) if query.cursor else None
    invitations = request.app[SERVICES].contacts.invitations
    return json_response(
        InvitationList.from_domain(await invitations.list(request[CALLER].user_id, query.limit, after))
    )


async def accept_invitation(request: web.Request) -> web.Response:
    """POST /conversations/invitations/{conversationId}/accept."""
    invitations, group = request.app[SERVICES].contacts.invitations, ConversationId(path_id(request, "conversationId"))
    return json_response(ConversationView.from_domain(await invitations.accept(request[CALLER].user_id, group)))


async def decline_invitation(request: web.Request) -> web.Response:
    """DELETE /conversations/invitations/{conversationId}."""
    group = ConversationId(path_id(request, "conversationId"))
    await request.app[SERVICES].contacts.invitations.decline(request[CALLER].user_id, group)
    return json_response(Nothing())


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/conversations",
        operation="conversations.open_one",
        handler=create,
        summary="Open a direct conversation (200 if it exists), or create a group",
        body=OpenConversation,
        responses={201: OpenedView, 200: OpenedView},
        refusals=(NotFound, Forbidden),
        documented_quota=NEW_CONTACTS,
    ),
    Route(
        method="GET",
        path="/api/v1/conversations",
        operation="conversations.index",
        handler=list_conversations,
        summary="The caller's conversations, newest first",
        query=PageQuery,
        responses={200: ConversationList},
        cost=50,
    ),
    Route(
        method="GET",
        path="/api/v1/conversations/invitations",
        operation="invitations.index",
        handler=list_invitations,
        summary="The caller's group invitations, newest group first",
        query=PageQuery,
        responses={200: InvitationList},
    ),
    Route(
        method="POST",
        path="/api/v1/conversations/invitations/{conversationId}/accept",
        operation="invitations.accept",
        handler=accept_invitation,
        summary="Accept a group invitation",
        responses={200: ConversationView},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="DELETE",
        path="/api/v1/conversations/invitations/{conversationId}",
        operation="invitations.decline",
        handler=decline_invitation,
        summary="Decline a group invitation; no one is notified",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
    Route(
        method="GET",
        path="/api/v1/conversations/{conversationId}",
        operation="conversations.show",
        handler=show,
        summary="A conversation of the caller",
        responses={200: ConversationView},
        refusals=(NotFound,),
        cost=5,
    ),
)
