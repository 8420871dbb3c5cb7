"""The caller's PIN."""

from aiohttp import web

from vyry.accounts import own_pin
from vyry.accounts.pin import Guesser
from vyry.accounts.pin_checks import checks_left
from web.keys import CALLER, GRANTS, SERVICES
from web.wire.pin import GivenPin, PinStanding, PinVerified, ResetPin, SetPin
from web.wire.strict import answer, read


async def show(request: web.Request) -> web.Response:
    """GET /account/pin."""
    return answer(_shape(await request.app[SERVICES].own_pin.of(request[CALLER])))


async def replace(request: web.Request) -> web.Response:
    """PUT /account/pin: a first PIN, or another one for the present one."""
    body = await read(request, SetPin)
    wish = own_pin.PinWish(body.pin, body.current_pin, body.registration_lock)
    return _counted(request, await request.app[SERVICES].own_pin.set(request[CALLER], wish))


async def verify(request: web.Request) -> web.Response:
    """POST /account/pin/verify."""
    body = await read(request, GivenPin)
    await request.app[SERVICES].own_pin.verify(request[CALLER], body.pin)
    _tell_left(request)
    return answer(PinVerified(verified=True))


async def reset(request: web.Request) -> web.Response:
    """POST /account/pin/reset: by a code sent to the account's number."""
    body = await read(request, ResetPin)
    given = own_pin.PinReset(body.challenge_id, body.otp, body.new_pin)
    return _counted(request, await request.app[SERVICES].own_pin.reset(request[CALLER], given))


async def remove(request: web.Request) -> web.Response:
    """POST /account/pin/remove."""
    body = await read(request, GivenPin)
    return _counted(request, await request.app[SERVICES].own_pin.remove(request[CALLER], body.pin))


def _counted(request: web.Request, standing: own_pin.PinStanding) -> web.Response:
    """The answer to a request that hashed a PIN."""
    _tell_left(request)
    return answer(_shape(standing))


def _tell_left(request: web.Request) -> None:
    request[GRANTS] = checks_left(request.app[SERVICES].buckets, Guesser.of(request[CALLER]))


def _shape(standing: own_pin.PinStanding) -> PinStanding:
    return PinStanding(
        is_set=standing.is_set,
        registration_lock=standing.registration_lock,
        attempts_remaining=standing.attempts_remaining,
        locked_until=standing.locked_until,
    )
