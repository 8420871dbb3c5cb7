"""Conversations."""

from typing import Final

from vyry.errors import Forbidden, NotFound
from vyry.limits import NEW_CONTACTS
from web.app_keys import Route
from web.handlers import conversations, invitations
from web.wire.conversations import ConversationList, ConversationsQuery, ConversationView, OpenConversation, OpenedView
from web.wire.invitations import InvitationList
from web.wire.shapes import Nothing


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/conversations",
        operation="conversations.open_one",
        handler=conversations.open_one,
        summary="Open the direct conversation with somebody (200 if there is one already), or make a group",
        body=OpenConversation,
        responses={201: OpenedView, 200: OpenedView},
        refusals=(NotFound, Forbidden),
        quota=NEW_CONTACTS,
    ),
    Route(
        method="GET",
        path="/api/v1/conversations",
        operation="conversations.index",
        handler=conversations.index,
        summary="The caller's conversations, newest made first",
        query=ConversationsQuery,
        responses={200: ConversationList},
        cost=50,
    ),
    Route(
        method="GET",
        path="/api/v1/conversations/invitations",
        operation="invitations.index",
        handler=invitations.index,
        summary="The groups into which the caller is invited, newest made first",
        query=ConversationsQuery,
        responses={200: InvitationList},
    ),
    Route(
        method="POST",
        path="/api/v1/conversations/invitations/{conversationId}/accept",
        operation="invitations.accept",
        handler=invitations.accept,
        summary="Become a member of a group into which one is invited",
        responses={200: ConversationView},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="DELETE",
        path="/api/v1/conversations/invitations/{conversationId}",
        operation="invitations.decline",
        handler=invitations.decline,
        summary="Decline to be in a group; nobody is told",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
    Route(
        method="GET",
        path="/api/v1/conversations/{conversationId}",
        operation="conversations.show",
        handler=conversations.show,
        summary="A conversation the caller belongs to",
        responses={200: ConversationView},
        refusals=(NotFound,),
        cost=5,
    ),
)
