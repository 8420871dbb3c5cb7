"""The key directory over REST: publish, top up, look up, claim."""

from aiohttp import web

from vyry.kernel.ids import UserId
from vyry.limits import KEYS
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire.keys import Claim, ClaimedBundles, KeyListing, KeySet, KeyStatus, MoreKeys
from web.wire.strict import json_response, path_id, read_body


async def replace(request: web.Request) -> web.Response:
    """PUT /keys."""
    services = request.app[SERVICES]
    request[GRANTS] = [(KEYS.name, await services.prekeys.consume_upload_quota(request[CALLER]))]
    upload = await read_body(request, KeySet)
    state = await services.prekeys.replace(request[CALLER], upload.to_domain())
    return json_response(KeyStatus.from_domain(state, services.clock.now()))


async def refill(request: web.Request) -> web.Response:
    """POST /keys/prekeys."""
    services = request.app[SERVICES]
    request[GRANTS] = [(KEYS.name, await services.prekeys.consume_upload_quota(request[CALLER]))]
    more = await read_body(request, MoreKeys)
    state = await services.prekeys.refill(request[CALLER], more.to_domain())
    return json_response(KeyStatus.from_domain(state, services.clock.now()))


async def status(request: web.Request) -> web.Response:
    """GET /keys/status."""
    services = request.app[SERVICES]
    state = await services.prekeys.state(request[CALLER])
    return json_response(KeyStatus.from_domain(state, services.clock.now()))


async def show(request: web.Request) -> web.Response:
    """GET /keys/{userId}."""
    keys = await request.app[SERVICES].prekeys.keys(request[CALLER], UserId(path_id(request, "userId")))
    return json_response(KeyListing.from_domain(keys))


async def claim(request: web.Request) -> web.Response:
    """POST /keys/{userId}/claim."""
    wanted = await read_body(request, Claim)
    target = UserId(path_id(request, "userId"))
    claimed, request[GRANTS] = await request.app[SERVICES].prekeys.claim(request[CALLER], target, wanted.to_domain())
    return json_response(ClaimedBundles.from_domain(claimed))
