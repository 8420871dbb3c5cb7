"""Conversations over REST."""

from aiohttp import web

from vyry.ids import ConversationId, UserId
from web.keys import CALLER, GRANTS, SERVICES
from web.wire.conversations import ConversationList, ConversationsQuery, ConversationView, OpenConversation, OpenedView
from web.wire.strict import answer, named, parameters, read


async def open_one(request: web.Request) -> web.Response:
    """POST /conversations."""
    wanted, opener = await read(request, OpenConversation), request[CALLER].user_id
    services = request.app[SERVICES]
    if (other := wanted.direct()) is not None:
        opened = await services.conversations.open_direct(opener, UserId(other))
    else:
        others = [UserId(user) for user in wanted.member_ids or ()]
        opened = await services.circles.groups.create(opener, others, wanted.sealed_info)
    request[GRANTS] = list(opened.grants)
    return answer(OpenedView.opened(opened), status=201 if opened.is_new else 200)


async def show(request: web.Request) -> web.Response:
    """GET /conversations/{conversationId}."""
    wanted = ConversationId(named(request, "conversationId"))
    return answer(ConversationView.of(await request.app[SERVICES].conversations.show(request[CALLER].user_id, wanted)))


async def index(request: web.Request) -> web.Response:
    """GET /conversations."""
    query = parameters(request, ConversationsQuery)
    after = ConversationId(query.cursor) if query.cursor else None
    return answer(
        ConversationList.of(await request.app[SERVICES].conversations.list(request[CALLER].user_id, query.limit, after))
    )
