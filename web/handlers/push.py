"""Where the calling device wants to be woken."""

from aiohttp import web

from web.app_keys import CALLER, SERVICES
from web.wire.push import RegisterPush, VapidKey
from web.wire.shapes import Nothing
from web.wire.strict import json_response, read_body


async def vapid_key(request: web.Request) -> web.Response:
    """GET /push/vapid-key."""
    return json_response(VapidKey(public_key=request.app[SERVICES].push.targets.vapid_key()))


async def register(request: web.Request) -> web.Response:
    """PUT /devices/current/push."""
    body = await read_body(request, RegisterPush)
    await request.app[SERVICES].push.targets.register(request[CALLER], body.to_domain())
    return json_response(Nothing())


async def withdraw(request: web.Request) -> web.Response:
    """DELETE /devices/current/push."""
    await request.app[SERVICES].push.targets.withdraw(request[CALLER])
    return json_response(Nothing())
