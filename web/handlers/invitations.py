"""Invitations into groups over REST."""

from aiohttp import web

from vyry.ids import ConversationId
from web.keys import CALLER, SERVICES
from web.wire.conversations import ConversationsQuery, ConversationView
from web.wire.invitations import InvitationList
from web.wire.shapes import Nothing
from web.wire.strict import answer, named, parameters


async def index(request: web.Request) -> web.Response:
    """GET /conversations/invitations."""
    query = parameters(request, ConversationsQuery)
    after = ConversationId(query.cursor) if query.cursor else None
    invitations = request.app[SERVICES].circles.invitations
    return answer(InvitationList.of(await invitations.list(request[CALLER].user_id, query.limit, after)))


async def accept(request: web.Request) -> web.Response:
    """POST /conversations/invitations/{conversationId}/accept."""
    invitations, group = request.app[SERVICES].circles.invitations, ConversationId(named(request, "conversationId"))
    return answer(ConversationView.of(await invitations.accept(request[CALLER].user_id, group)))


async def decline(request: web.Request) -> web.Response:
    """DELETE /conversations/invitations/{conversationId}."""
    group = ConversationId(named(request, "conversationId"))
    await request.app[SERVICES].circles.invitations.decline(request[CALLER].user_id, group)
    return answer(Nothing())
