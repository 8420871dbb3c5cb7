"""The caller's PIN."""

from aiohttp import web

from vyry.accounts import own_pin
from vyry.accounts.pin import Guesser
from vyry.accounts.pin_checks import checks_left
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire.pin import GivenPin, PinStanding, PinVerified, ResetPin, SetPin
from web.wire.strict import json_response, read_body


async def show(request: web.Request) -> web.Response:
    """GET /account/pin."""
    return json_response(_pin_shape(await request.app[SERVICES].own_pin.status(request[CALLER])))


async def replace(request: web.Request) -> web.Response:
    """PUT /account/pin: a first PIN, or another one for the present one."""
    body = await read_body(request, SetPin)
    wish = own_pin.PinUpdate(body.pin, body.current_pin, body.registration_lock)
    return _pin_response(request, await request.app[SERVICES].own_pin.set(request[CALLER], wish))


async def verify(request: web.Request) -> web.Response:
    """POST /account/pin/verify."""
    body = await read_body(request, GivenPin)
    await request.app[SERVICES].own_pin.verify(request[CALLER], body.pin)
    _set_grants(request)
    return json_response(PinVerified(verified=True))


async def reset(request: web.Request) -> web.Response:
    """POST /account/pin/reset: by a code sent to the account's number."""
    body = await read_body(request, ResetPin)
    given = own_pin.PinReset(body.challenge_id, body.otp, body.new_pin)
    return _pin_response(request, await request.app[SERVICES].own_pin.reset(request[CALLER], given))


async def remove(request: web.Request) -> web.Response:
    """POST /account/pin/remove."""
    body = await read_body(request, GivenPin)
    return _pin_response(request, await request.app[SERVICES].own_pin.remove(request[CALLER], body.pin))


def _pin_response(request: web.Request, standing: own_pin.PinStatus) -> web.Response:
    """The answer to a request that hashed a PIN."""
    _set_grants(request)
    return json_response(_pin_shape(standing))


def _set_grants(request: web.Request) -> None:
    request[GRANTS] = checks_left(request.app[SERVICES].buckets, Guesser.from_caller(request[CALLER]))


def _pin_shape(standing: own_pin.PinStatus) -> PinStanding:
    return PinStanding(
        is_set=standing.is_set,
        registration_lock=standing.registration_lock,
        attempts_remaining=standing.attempts_remaining,
        locked_until=standing.locked_until,
    )
