"""Groups: title, members, roles and invite links (docs/protocol.md, "Groups")."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from vyry.conversations.conversations import Role
from vyry.conversations.groups import ConversationEdit, MemberPage
from vyry.conversations.invite_links import InviteLink, InviteLinkPage, InviteLinkTerms
from vyry.errors import Forbidden, LastAdmin, NotFound, VersionMismatch
from vyry.kernel.ids import ConversationId, UserId
from vyry.limits import CONVERSATION_CHANGES, NEW_CONTACTS
from web.app_keys import CALLER, GRANTS, SERVICES
from web.auth import public_origin
from web.bodies import json_response, path_id, read_body, read_query
from web.route import Route
from web.wire.conversations import (
    ConversationMember,
    ConversationView,
    DistinctIds,
    OpenedView,
    SealedInfo,
)
from web.wire.shapes import Count, Id, Nothing, PageQuery, Timestamp, WireModel


class EditConversation(WireModel):
    """Fields to change; an absent field keeps its value, null clears. `version` is the one that the editor read."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    sealed_info: SealedInfo | None = None
    message_timer_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None

    def to_domain(self) -> ConversationEdit:
        """The domain value of this shape."""
        given = self.model_fields_set
        info = "sealed_info" in given, self.sealed_info
        return ConversationEdit(self.version, *info, "message_timer_seconds" in given, self.message_timer_seconds)


class AddMembers(WireModel):
    """Users to add."""

    user_ids: Annotated[DistinctIds, Field(min_length=1, max_length=999)]


class AssignRole(WireModel):
    """The new role of a member."""

    role: Literal["admin", "member"]

    def to_domain(self) -> Role:
        """The domain value of this shape."""
        return Role(self.role)


class MemberList(WireModel):
    """A page of members, by rising id."""

    members: Sequence[ConversationMember]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: MemberPage) -> "MemberList":
        """The shape of this domain value."""
        members = [ConversationMember.from_domain(user, member) for user, member in page.members.items()]
        return cls(members=members, next_cursor=page.next_cursor)


class CreateInvite(WireModel):
    """Lifetime and maximum uses of an invite link."""

    expires_in_seconds: Annotated[int, Field(ge=1, le=2_592_000)] = 604_800
    max_uses: Annotated[int, Field(ge=1, le=1_000)] = 100

    def to_domain(self) -> InviteLinkTerms:
        """The domain value of this shape."""
        return InviteLinkTerms(timedelta(seconds=self.expires_in_seconds), self.max_uses)


class NewInvite(WireModel):
    """An invite with its token, which no later response contains. `url` has the token after `#`, which browsers do not send to a server."""

    invite_id: Id
    token: str
    url: str
    expires_at: Timestamp
    max_uses: Count

    @classmethod
    def from_domain(cls, invite: InviteLink, token: str, origin: str) -> "NewInvite":
        """The shape of this domain value."""
        return cls(
            invite_id=invite.invite_id,
            token=token,
            url=f"{origin}/#/invites/{token}",
            expires_at=invite.expires_at,
            max_uses=invite.max_uses,
        )


class HeldInvite(WireModel):
    """A valid invite; `userId` created it."""

    invite_id: Id
    user_id: Id
    max_uses: Count
    uses: Count
    created_at: Timestamp
    expires_at: Timestamp


class InviteList(WireModel):
    """A page of valid invites, newest first."""

    invites: Sequence[HeldInvite]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: InviteLinkPage) -> "InviteList":
        """The shape of this domain value."""
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


async def edit_conversation(request: web.Request) -> web.Response:
    """PATCH /conversations/{conversationId}."""
    groups, caller_id = request.app[SERVICES].contacts.groups, request[CALLER].user_id
    request[GRANTS] = [(CONVERSATION_CHANGES.name, await groups.charge_change(caller_id))]
    body = await read_body(request, EditConversation)
    return json_response(
        ConversationView.from_domain(await groups.edit(caller_id, _conversation_id(request), body.to_domain()))
    )


async def list_members(request: web.Request) -> web.Response:
    """GET /conversations/{conversationId}/members."""
    query = read_query(request, PageQuery)
    after = UserId(query.cursor) if query.cursor else None
    groups, caller_id = request.app[SERVICES].contacts.groups, request[CALLER].user_id
    return json_response(
        MemberList.from_domain(await groups.members(caller_id, _conversation_id(request), query.limit, after))
    )


async def add_members(request: web.Request) -> web.Response:
    """POST /conversations/{conversationId}/members."""
    body = await read_body(request, AddMembers)
    users = [UserId(user) for user in body.user_ids]
    grown = await request.app[SERVICES].contacts.groups.add(request[CALLER].user_id, _conversation_id(request), users)
    request[GRANTS] = list(grown.grants)
    return json_response(OpenedView.from_opened(grown))


async def remove_member(request: web.Request) -> web.Response:
    """DELETE /conversations/{conversationId}/members/{userId}."""
    user = UserId(path_id(request, "userId"))
    await request.app[SERVICES].contacts.groups.remove(request[CALLER].user_id, _conversation_id(request), user)
    return json_response(Nothing())


async def set_role(request: web.Request) -> web.Response:
    """PATCH /conversations/{conversationId}/members/{userId}."""
    groups, caller_id = request.app[SERVICES].contacts.groups, request[CALLER].user_id
    request[GRANTS] = [(CONVERSATION_CHANGES.name, await groups.charge_change(caller_id))]
    user, body = UserId(path_id(request, "userId")), await read_body(request, AssignRole)
    return json_response(
        ConversationView.from_domain(
            await groups.set_role(caller_id, _conversation_id(request), user, body.to_domain())
        )
    )


def _conversation_id(request: web.Request) -> ConversationId:
    return ConversationId(path_id(request, "conversationId"))


async def create_invite(request: web.Request) -> web.Response:
    """POST /conversations/{conversationId}/invites."""
    body = await read_body(request, CreateInvite)
    invites, caller_id = request.app[SERVICES].contacts.invites, request[CALLER].user_id
    invite, token = await invites.create(caller_id, _conversation_id(request), body.to_domain())
    return json_response(NewInvite.from_domain(invite, token, public_origin(request)), status=201)


async def list_invites(request: web.Request) -> web.Response:
    """GET /conversations/{conversationId}/invites."""
    query = read_query(request, PageQuery)
    invites, caller_id = request.app[SERVICES].contacts.invites, request[CALLER].user_id
    return json_response(
        InviteList.from_domain(await invites.list(caller_id, _conversation_id(request), query.limit, query.cursor))
    )


async def revoke_invite(request: web.Request) -> web.Response:
    """DELETE /conversations/{conversationId}/invites/{inviteId}."""
    invite_id = path_id(request, "inviteId")
    await request.app[SERVICES].contacts.invites.revoke(request[CALLER].user_id, _conversation_id(request), invite_id)
    return json_response(Nothing())


async def join_by_invite(request: web.Request) -> web.Response:
    """POST /invites/{token}/join."""
    contacts, joiner = request.app[SERVICES].contacts, request[CALLER].user_id
    request[GRANTS] = [(CONVERSATION_CHANGES.name, await contacts.groups.charge_change(joiner))]
    return json_response(ConversationView.from_domain(await contacts.invites.join(joiner, request.match_info["token"])))


_CONVERSATION_PATH: Final = "/api/v1/conversations/{conversationId}"
ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="PATCH",
        path=_CONVERSATION_PATH,
        operation="groups.edit",
        handler=edit_conversation,
        summary="Change title, picture or message timer (group admins, both sides of a direct conversation)",
        body=EditConversation,
        responses={200: ConversationView},
        refusals=(NotFound, Forbidden, VersionMismatch),
        documented_quota=CONVERSATION_CHANGES,
    ),
    Route(
        method="GET",
        path=f"{_CONVERSATION_PATH}/members",
        operation="groups.members",
        handler=list_members,
        summary="List the members by rising id",
        query=PageQuery,
        responses={200: MemberList},
        refusals=(NotFound,),
    ),
    Route(
        method="POST",
        path=f"{_CONVERSATION_PATH}/members",
        operation="groups.add",
        handler=add_members,
        summary="Add members to a group (admins); existing members keep their role",
        body=AddMembers,
        responses={200: OpenedView},
        refusals=(NotFound, Forbidden),
        documented_quota=NEW_CONTACTS,
    ),
    Route(
        method="DELETE",
        path=f"{_CONVERSATION_PATH}/members/{{userId}}",
        operation="groups.remove",
        handler=remove_member,
        summary="Leave a group, or remove a member (admins)",
        responses={200: Nothing},
        refusals=(NotFound, Forbidden, LastAdmin),
    ),
    Route(
        method="PATCH",
        path=f"{_CONVERSATION_PATH}/members/{{userId}}",
        operation="groups.assign",
        handler=set_role,
        summary="Change a member's role (admins)",
        body=AssignRole,
        responses={200: ConversationView},
        refusals=(NotFound, Forbidden, LastAdmin),
        documented_quota=CONVERSATION_CHANGES,
    ),
    Route(
        method="POST",
        path=f"{_CONVERSATION_PATH}/invites",
        operation="invites.create",
        handler=create_invite,
        summary="Create an invite link (admins)",
        body=CreateInvite,
        is_body_optional=True,
        responses={201: NewInvite},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="GET",
        path=f"{_CONVERSATION_PATH}/invites",
        operation="invites.index",
        handler=list_invites,
        summary="List valid invites (admins)",
        query=PageQuery,
        responses={200: InviteList},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="DELETE",
        path=f"{_CONVERSATION_PATH}/invites/{{inviteId}}",
        operation="invites.withdraw",
        handler=revoke_invite,
        summary="Revoke an invite (admins)",
        responses={200: Nothing},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="POST",
        path="/api/v1/invites/{token}/join",
        operation="invites.join",
        handler=join_by_invite,
        summary="Join a group by an invite; a member's call does not count as a use",
        responses={200: ConversationView},
        refusals=(NotFound, Forbidden),
        documented_quota=CONVERSATION_CHANGES,
    ),
)
