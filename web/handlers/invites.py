"""Invites over REST. A token stands in the path of one route, and in no log: the log has the path as the table writes it."""

from aiohttp import web

from vyry.kernel.ids import ConversationId
from vyry.kernel.url_safety import is_confidential
from vyry.limits import CONVERSATION_CHANGES
from web.app_keys import CALLER, GRANTS, SERVICES, SETTINGS
from web.wire.conversations import ConversationView
from web.wire.groups import CreateInvite, InviteList, InvitesQuery, NewInvite
from web.wire.shapes import Nothing
from web.wire.strict import json_response, path_id, read_body, read_query


async def create(request: web.Request) -> web.Response:
    """POST /conversations/{conversationId}/invites."""
    body = await read_body(request, CreateInvite)
    invites, whose = request.app[SERVICES].contacts.invites, request[CALLER].user_id
    invite, token = await invites.create(whose, _conversation_id(request), body.to_domain())
    # A production node that others can reach stands behind TLS, be it that of a balancer.
    place = f"{request.scheme}://{request.host}"
    if request.app[SETTINGS].env == "production" and not is_confidential(place):
        place = f"https://{request.host}"
    return json_response(NewInvite.from_domain(invite, token, place), status=201)


async def index(request: web.Request) -> web.Response:
    """GET /conversations/{conversationId}/invites."""
    query = read_query(request, InvitesQuery)
    invites, whose = request.app[SERVICES].contacts.invites, request[CALLER].user_id
    return json_response(
        InviteList.from_domain(await invites.list(whose, _conversation_id(request), query.limit, query.cursor))
    )


async def withdraw(request: web.Request) -> web.Response:
    """DELETE /conversations/{conversationId}/invites/{inviteId}."""
    invite_id = path_id(request, "inviteId")
    await request.app[SERVICES].contacts.invites.revoke(request[CALLER].user_id, _conversation_id(request), invite_id)
    return json_response(Nothing())


async def join(request: web.Request) -> web.Response:
    """POST /invites/{token}/join."""
    contacts, joiner = request.app[SERVICES].contacts, request[CALLER].user_id
    request[GRANTS] = [(CONVERSATION_CHANGES.name, await contacts.groups.charge_change(joiner))]
    return json_response(ConversationView.from_domain(await contacts.invites.join(joiner, request.match_info["token"])))


def _conversation_id(request: web.Request) -> ConversationId:
    return ConversationId(path_id(request, "conversationId"))
