"""Blocks."""

from aiohttp import web

from vyry.ids import UserId
from web.keys import CALLER, SERVICES
from web.wire.people import BlockList, PeopleQuery
from web.wire.shapes import Nothing
from web.wire.strict import answer, named, parameters


async def index(request: web.Request) -> web.Response:
    """GET /blocks."""
    query = parameters(request, PeopleQuery)
    blocks = request.app[SERVICES].circles.blocks
    after = UserId(query.cursor) if query.cursor else None
    return answer(BlockList.of(await blocks.list(request[CALLER], query.limit, after)))


async def block(request: web.Request) -> web.Response:
    """PUT /blocks/{userId}."""
    await request.app[SERVICES].circles.blocks.block(request[CALLER], UserId(named(request, "userId")))
    return answer(Nothing())


async def unblock(request: web.Request) -> web.Response:
    """DELETE /blocks/{userId}."""
    await request.app[SERVICES].circles.blocks.unblock(request[CALLER], UserId(named(request, "userId")))
    return answer(Nothing())
