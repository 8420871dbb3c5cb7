"""The key directory over REST: publish, top up, look up, claim."""

from aiohttp import web

from vyry.ids import UserId
from vyry.limits import KEYS
from web.keys import CALLER, GRANTS, SERVICES
from web.wire.keys import Claim, ClaimedBundles, KeyListing, KeySet, KeyStatus, MoreKeys
from web.wire.strict import answer, named, read


async def replace(request: web.Request) -> web.Response:
    """PUT /keys."""
    services = request.app[SERVICES]
    request[GRANTS] = [(KEYS.name, await services.prekeys.pay(request[CALLER]))]
    upload = await read(request, KeySet)
    state = await services.prekeys.replace(request[CALLER], upload.value())
    return answer(KeyStatus.of(state, services.clock.now()))


async def refill(request: web.Request) -> web.Response:
    """POST /keys/prekeys."""
    services = request.app[SERVICES]
    request[GRANTS] = [(KEYS.name, await services.prekeys.pay(request[CALLER]))]
    more = await read(request, MoreKeys)
    state = await services.prekeys.refill(request[CALLER], more.value())
    return answer(KeyStatus.of(state, services.clock.now()))


async def status(request: web.Request) -> web.Response:
    """GET /keys/status."""
    services = request.app[SERVICES]
    state = await services.prekeys.state(request[CALLER])
    return answer(KeyStatus.of(state, services.clock.now()))


async def show(request: web.Request) -> web.Response:
    """GET /keys/{userId}."""
    keys = await request.app[SERVICES].prekeys.keys(request[CALLER], UserId(named(request, "userId")))
    return answer(KeyListing.of(keys))


async def claim(request: web.Request) -> web.Response:
    """POST /keys/{userId}/claim."""
    wanted = await read(request, Claim)
    target = UserId(named(request, "userId"))
    claimed, request[GRANTS] = await request.app[SERVICES].prekeys.claim(request[CALLER], target, wanted.value())
    return answer(ClaimedBundles.of(claimed))
