"""What calls need beside their signals, which go over sockets."""

from aiohttp import web

from web.app_keys import CALLER, SERVICES
from web.wire.calls import Relays
from web.wire.strict import json_response


async def relays(request: web.Request) -> web.Response:
    """GET /calls/relays."""
    services = request.app[SERVICES]
    return json_response(
        Relays.from_domain(services.signals.turn.ice_servers(request[CALLER].user_id, services.clock.now()))
    )
