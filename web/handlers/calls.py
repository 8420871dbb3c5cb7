"""What calls need beside their signals, which go over sockets."""

from aiohttp import web

from web.keys import CALLER, SERVICES
from web.wire.calls import Relays
from web.wire.strict import answer


async def relays(request: web.Request) -> web.Response:
    """GET /calls/relays."""
    services = request.app[SERVICES]
    return answer(Relays.of(services.signals.turn.ice_servers(request[CALLER].user_id, services.clock.now())))
