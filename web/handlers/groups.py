"""Groups over REST: what is said of a conversation, and who belongs to it."""

from aiohttp import web

from vyry.ids import ConversationId, UserId
from vyry.limits import CONVERSATION_CHANGES
from web.keys import CALLER, GRANTS, SERVICES
from web.wire.conversations import ConversationView, OpenedView
from web.wire.groups import AddMembers, AssignRole, EditConversation, MemberList, MembersQuery
from web.wire.shapes import Nothing
from web.wire.strict import answer, named, parameters, read


async def edit(request: web.Request) -> web.Response:
    """PATCH /conversations/{conversationId}."""
    groups, whose = request.app[SERVICES].circles.groups, request[CALLER].user_id
    request[GRANTS] = [(CONVERSATION_CHANGES.name, await groups.pay(whose))]
    body = await read(request, EditConversation)
    return answer(ConversationView.of(await groups.edit(whose, _conversation(request), body.value())))


async def members(request: web.Request) -> web.Response:
    """GET /conversations/{conversationId}/members."""
    query = parameters(request, MembersQuery)
    after = UserId(query.cursor) if query.cursor else None
    groups, whose = request.app[SERVICES].circles.groups, request[CALLER].user_id
    return answer(MemberList.of(await groups.members(whose, _conversation(request), query.limit, after)))


async def add(request: web.Request) -> web.Response:
    """POST /conversations/{conversationId}/members."""
    body = await read(request, AddMembers)
    users = [UserId(user) for user in body.user_ids]
    grown = await request.app[SERVICES].circles.groups.add(request[CALLER].user_id, _conversation(request), users)
    request[GRANTS] = list(grown.grants)
    return answer(OpenedView.opened(grown))


async def remove(request: web.Request) -> web.Response:
    """DELETE /conversations/{conversationId}/members/{userId}."""
    user = UserId(named(request, "userId"))
    await request.app[SERVICES].circles.groups.remove(request[CALLER].user_id, _conversation(request), user)
    return answer(Nothing())


async def assign(request: web.Request) -> web.Response:
    """PATCH /conversations/{conversationId}/members/{userId}."""
    groups, whose = request.app[SERVICES].circles.groups, request[CALLER].user_id
    request[GRANTS] = [(CONVERSATION_CHANGES.name, await groups.pay(whose))]
    user, body = UserId(named(request, "userId")), await read(request, AssignRole)
    return answer(ConversationView.of(await groups.assign(whose, _conversation(request), user, body.value())))


def _conversation(request: web.Request) -> ConversationId:
    return ConversationId(named(request, "conversationId"))
