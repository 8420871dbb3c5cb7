"""What the limits leave to the caller."""

from aiohttp import web

from web.app_keys import CALLER, SERVICES
from web.auth import client_address
from web.wire.limits import Limit, Limits
from web.wire.strict import json_response


async def show(request: web.Request) -> web.Response:
    """GET /limits."""
    left = await request.app[SERVICES].remaining_quotas.report(request[CALLER], client_address(request))
    return json_response(
        Limits(
            limits=[
                Limit(name=name, limit=grant.limit, window_seconds=grant.window, remaining=grant.remaining)
                for name, grant in left
            ]
        )
    )
