"""Groups: what is said of a conversation, its members and its invites."""

from typing import Final

from vyry.errors import Forbidden, LastAdmin, NotFound, VersionMismatch
from vyry.limits import CONVERSATION_CHANGES, NEW_CONTACTS
from web.app_keys import Route
from web.handlers import groups, invites
from web.wire.conversations import ConversationView, OpenedView
from web.wire.groups import (
    AddMembers,
    AssignRole,
    CreateInvite,
    EditConversation,
    InviteList,
    InvitesQuery,
    MemberList,
    MembersQuery,
    NewInvite,
)
from web.wire.shapes import Nothing


_CONVERSATION_PATH: Final = "/api/v1/conversations/{conversationId}"

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="PATCH",
        path=_CONVERSATION_PATH,
        operation="groups.edit",
        handler=groups.edit,
        summary="Change what is said of a conversation: an admin of a group, either of two",
        body=EditConversation,
        responses={200: ConversationView},
        refusals=(NotFound, Forbidden, VersionMismatch),
        quota=CONVERSATION_CHANGES,
    ),
    Route(
        method="GET",
        path=f"{_CONVERSATION_PATH}/members",
        operation="groups.members",
        handler=groups.members,
        summary="The members by rising id, page by page",
        query=MembersQuery,
        responses={200: MemberList},
        refusals=(NotFound,),
    ),
    Route(
        method="POST",
        path=f"{_CONVERSATION_PATH}/members",
        operation="groups.add",
        handler=groups.add,
        summary="Add members to a group (admins); who is one already stays what they are",
        body=AddMembers,
        responses={200: OpenedView},
        refusals=(NotFound, Forbidden),
        quota=NEW_CONTACTS,
    ),
    Route(
        method="DELETE",
        path=f"{_CONVERSATION_PATH}/members/{{userId}}",
        operation="groups.remove",
        handler=groups.remove,
        summary="Leave a group, or remove somebody (admins)",
        responses={200: Nothing},
        refusals=(NotFound, Forbidden, LastAdmin),
    ),
    Route(
        method="PATCH",
        path=f"{_CONVERSATION_PATH}/members/{{userId}}",
        operation="groups.assign",
        handler=groups.assign,
        summary="Give a member another role (admins)",
        body=AssignRole,
        responses={200: ConversationView},
        refusals=(NotFound, Forbidden, LastAdmin),
        quota=CONVERSATION_CHANGES,
    ),
    Route(
        method="POST",
        path=f"{_CONVERSATION_PATH}/invites",
        operation="invites.create",
        handler=invites.create,
        summary="A way into the group for whoever has its token (admins)",
        body=CreateInvite,
        is_body_optional=True,
        responses={201: NewInvite},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="GET",
        path=f"{_CONVERSATION_PATH}/invites",
        operation="invites.index",
        handler=invites.index,
        summary="The invites that hold (admins)",
        query=InvitesQuery,
        responses={200: InviteList},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="DELETE",
        path=f"{_CONVERSATION_PATH}/invites/{{inviteId}}",
        operation="invites.withdraw",
        handler=invites.withdraw,
        summary="Withdraw an invite (admins)",
        responses={200: Nothing},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="POST",
        path="/api/v1/invites/{token}/join",
        operation="invites.join",
        handler=invites.join,
        summary="Join a group by an invite; a member uses nothing",
        responses={200: ConversationView},
        refusals=(NotFound, Forbidden),
        quota=CONVERSATION_CHANGES,
    ),
)
