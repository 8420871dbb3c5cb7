"""How the node is: alive, and ready for work."""

from aiohttp import web

from vyry import __version__
from vyry.errors import Unavailable
from web.app_keys import DRAINING, SERVICES
from web.wire.health import DependencyLine, Health, Ready
from web.wire.strict import json_response


async def alive(_: web.Request) -> web.Response:
    """GET /health: touches nothing, so it answers whatever else is away."""
    return json_response(Health(status="ok", service="vyry-api", version=__version__))


async def ready(request: web.Request) -> web.Response:
    """GET /ready: refused while something that is needed is away, and once the node was told to stop."""
    found = await request.app[SERVICES].health.check()
    lines = [DependencyLine(name=each.name, is_up=each.is_up, problem=each.problem) for each in found]
    if request.app[DRAINING].is_set() or any(each.is_needed and not each.is_up for each in found):
        refusal = Unavailable("The node is stopping." if request.app[DRAINING].is_set() else "The node is not ready.")
        refusal.members["dependencies"] = [line.model_dump(by_alias=True) for line in lines]
        raise refusal
    return json_response(Ready(status="ready", dependencies=lines))
