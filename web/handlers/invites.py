"""Invites over REST. A token stands in the path of one route, and in no log: the log has the path as the table writes it."""

from aiohttp import web

from vyry.ids import ConversationId
from vyry.limits import CONVERSATION_CHANGES
from vyry.own_machine import is_private
from web.keys import CALLER, GRANTS, SERVICES, SETTINGS
from web.wire.conversations import ConversationView
from web.wire.groups import CreateInvite, InviteList, InvitesQuery, NewInvite
from web.wire.shapes import Nothing
from web.wire.strict import answer, named, parameters, read


async def create(request: web.Request) -> web.Response:
    """POST /conversations/{conversationId}/invites."""
    body = await read(request, CreateInvite)
    invites, whose = request.app[SERVICES].circles.invites, request[CALLER].user_id
    invite, token = await invites.create(whose, _conversation(request), body.value())
    # A production node that others can reach stands behind TLS, be it that of a balancer.
    place = f"{request.scheme}://{request.host}"
    if request.app[SETTINGS].env == "production" and not is_private(place):
        place = f"https://{request.host}"
    return answer(NewInvite.of(invite, token, place), status=201)


async def index(request: web.Request) -> web.Response:
    """GET /conversations/{conversationId}/invites."""
    query = parameters(request, InvitesQuery)
    invites, whose = request.app[SERVICES].circles.invites, request[CALLER].user_id
    return answer(InviteList.of(await invites.list(whose, _conversation(request), query.limit, query.cursor)))


async def withdraw(request: web.Request) -> web.Response:
    """DELETE /conversations/{conversationId}/invites/{inviteId}."""
    invite_id = named(request, "inviteId")
    await request.app[SERVICES].circles.invites.withdraw(request[CALLER].user_id, _conversation(request), invite_id)
    return answer(Nothing())


async def join(request: web.Request) -> web.Response:
    """POST /invites/{token}/join."""
    circles, joiner = request.app[SERVICES].circles, request[CALLER].user_id
    request[GRANTS] = [(CONVERSATION_CHANGES.name, await circles.groups.pay(joiner))]
    return answer(ConversationView.of(await circles.invites.join(joiner, request.match_info["token"])))


def _conversation(request: web.Request) -> ConversationId:
    return ConversationId(named(request, "conversationId"))
