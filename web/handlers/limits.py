"""What the limits leave to the caller."""

from aiohttp import web

from web.auth import client_address
from web.keys import CALLER, SERVICES
from web.wire.limits import Limit, Limits
from web.wire.strict import answer


async def show(request: web.Request) -> web.Response:
    """GET /limits."""
    left = await request.app[SERVICES].allowances.of(request[CALLER], client_address(request))
    return answer(
        Limits(
            limits=[
                Limit(name=name, limit=grant.limit, window_seconds=grant.window, remaining=grant.remaining)
                for name, grant in left
            ]
        )
    )
