"""Conversations over REST."""

from aiohttp import web

from vyry.kernel.ids import ConversationId, UserId
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire.conversations import ConversationList, ConversationsQuery, ConversationView, OpenConversation, OpenedView
from web.wire.strict import json_response, path_id, read_body, read_query


async def open_one(request: web.Request) -> web.Response:
    """POST /conversations."""
    wanted, opener = await read_body(request, OpenConversation), request[CALLER].user_id
    services = request.app[SERVICES]
    if (other := wanted.direct_user_id()) is not None:
        opened = await services.conversations.open_direct(opener, UserId(other))
    else:
        others = [UserId(user) for user in wanted.member_ids or ()]
        opened = await services.contacts.groups.create(opener, others, wanted.sealed_info)
    request[GRANTS] = list(opened.grants)
    return json_response(OpenedView.from_opened(opened), status=201 if opened.is_new else 200)


async def show(request: web.Request) -> web.Response:
    """GET /conversations/{conversationId}."""
    wanted = ConversationId(path_id(request, "conversationId"))
    return json_response(
        ConversationView.from_domain(await request.app[SERVICES].conversations.load(request[CALLER].user_id, wanted))
    )


async def index(request: web.Request) -> web.Response:
    """GET /conversations."""
    query = read_query(request, ConversationsQuery)
    after = ConversationId(query.cursor) if query.cursor else None
    return json_response(
        ConversationList.from_domain(
            await request.app[SERVICES].conversations.list(request[CALLER].user_id, query.limit, after)
        )
    )
