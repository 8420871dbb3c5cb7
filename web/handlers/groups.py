"""Groups over REST: what is said of a conversation, and who belongs to it."""

from aiohttp import web

from vyry.kernel.ids import ConversationId, UserId
from vyry.limits import CONVERSATION_CHANGES
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire.conversations import ConversationView, OpenedView
from web.wire.groups import AddMembers, AssignRole, EditConversation, MemberList, MembersQuery
from web.wire.shapes import Nothing
from web.wire.strict import json_response, path_id, read_body, read_query


async def edit(request: web.Request) -> web.Response:
    """PATCH /conversations/{conversationId}."""
    groups, whose = request.app[SERVICES].contacts.groups, request[CALLER].user_id
    request[GRANTS] = [(CONVERSATION_CHANGES.name, await groups.charge_change(whose))]
    body = await read_body(request, EditConversation)
    return json_response(
        ConversationView.from_domain(await groups.edit(whose, _conversation_id(request), body.to_domain()))
    )


async def members(request: web.Request) -> web.Response:
    """GET /conversations/{conversationId}/members."""
    query = read_query(request, MembersQuery)
    after = UserId(query.cursor) if query.cursor else None
    groups, whose = request.app[SERVICES].contacts.groups, request[CALLER].user_id
    return json_response(
        MemberList.from_domain(await groups.members(whose, _conversation_id(request), query.limit, after))
    )


async def add(request: web.Request) -> web.Response:
    """POST /conversations/{conversationId}/members."""
    body = await read_body(request, AddMembers)
    users = [UserId(user) for user in body.user_ids]
    grown = await request.app[SERVICES].contacts.groups.add(request[CALLER].user_id, _conversation_id(request), users)
    request[GRANTS] = list(grown.grants)
    return json_response(OpenedView.from_opened(grown))


async def remove(request: web.Request) -> web.Response:
    """DELETE /conversations/{conversationId}/members/{userId}."""
    user = UserId(path_id(request, "userId"))
    await request.app[SERVICES].contacts.groups.remove(request[CALLER].user_id, _conversation_id(request), user)
    return json_response(Nothing())


async def assign(request: web.Request) -> web.Response:
    """PATCH /conversations/{conversationId}/members/{userId}."""
    groups, whose = request.app[SERVICES].contacts.groups, request[CALLER].user_id
    request[GRANTS] = [(CONVERSATION_CHANGES.name, await groups.charge_change(whose))]
    user, body = UserId(path_id(request, "userId")), await read_body(request, AssignRole)
    return json_response(
        ConversationView.from_domain(await groups.set_role(whose, _conversation_id(request), user, body.to_domain()))
    )


def _conversation_id(request: web.Request) -> ConversationId:
    return ConversationId(path_id(request, "conversationId"))
