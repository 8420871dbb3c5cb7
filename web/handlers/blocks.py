"""Blocks."""

from aiohttp import web

from vyry.kernel.ids import UserId
from web.app_keys import CALLER, SERVICES
from web.wire.people import BlockList, PeopleQuery
from web.wire.shapes import Nothing
from web.wire.strict import json_response, path_id, read_query


async def index(request: web.Request) -> web.Response:
    """GET /blocks."""
    query = read_query(request, PeopleQuery)
    blocks = request.app[SERVICES].contacts.blocks
    after = UserId(query.cursor) if query.cursor else None
    return json_response(BlockList.from_domain(await blocks.list(request[CALLER], query.limit, after)))


async def block(request: web.Request) -> web.Response:
    """PUT /blocks/{userId}."""
    await request.app[SERVICES].contacts.blocks.block(request[CALLER], UserId(path_id(request, "userId")))
    return json_response(Nothing())


async def unblock(request: web.Request) -> web.Response:
    """DELETE /blocks/{userId}."""
    await request.app[SERVICES].contacts.blocks.unblock(request[CALLER], UserId(path_id(request, "userId")))
    return json_response(Nothing())
