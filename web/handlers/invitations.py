"""Invitations into groups over REST."""

from aiohttp import web

from vyry.kernel.ids import ConversationId
from web.app_keys import CALLER, SERVICES
from web.wire.conversations import ConversationsQuery, ConversationView
from web.wire.invitations import InvitationList
from web.wire.shapes import Nothing
from web.wire.strict import json_response, path_id, read_query


async def index(request: web.Request) -> web.Response:
    """GET /conversations/invitations."""
    query = read_query(request, ConversationsQuery)
    after = ConversationId(query.cursor) if query.cursor else None
    invitations = request.app[SERVICES].contacts.invitations
    return json_response(
        InvitationList.from_domain(await invitations.list(request[CALLER].user_id, query.limit, after))
    )


async def accept(request: web.Request) -> web.Response:
    """POST /conversations/invitations/{conversationId}/accept."""
    invitations, group = request.app[SERVICES].contacts.invitations, ConversationId(path_id(request, "conversationId"))
    return json_response(ConversationView.from_domain(await invitations.accept(request[CALLER].user_id, group)))


async def decline(request: web.Request) -> web.Response:
    """DELETE /conversations/invitations/{conversationId}."""
    group = ConversationId(path_id(request, "conversationId"))
    await request.app[SERVICES].contacts.invitations.decline(request[CALLER].user_id, group)
    return json_response(Nothing())
