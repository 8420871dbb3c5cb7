"""Where the calling device wants to be woken."""

from aiohttp import web

from web.keys import CALLER, SERVICES
from web.wire.push import RegisterPush, VapidKey
from web.wire.shapes import Nothing
from web.wire.strict import answer, read


async def vapid_key(request: web.Request) -> web.Response:
    """GET /push/vapid-key."""
    return answer(VapidKey(public_key=request.app[SERVICES].push.targets.vapid_key()))


async def register(request: web.Request) -> web.Response:
    """PUT /devices/current/push."""
    body = await read(request, RegisterPush)
    await request.app[SERVICES].push.targets.register(request[CALLER], body.value())
    return answer(Nothing())


async def withdraw(request: web.Request) -> web.Response:
    """DELETE /devices/current/push."""
    await request.app[SERVICES].push.targets.withdraw(request[CALLER])
    return answer(Nothing())
