"""How the node is: alive, and ready for work."""

from aiohttp import web

from vyry import __version__
from web.wire.health import Health
from web.wire.strict import answer


async def alive(_: web.Request) -> web.Response:
    """GET /health: touches nothing, so it answers whatever else is away."""
    return answer(Health(status="ok", service="vyry-api", version=__version__))
