"""The caller's PIN (docs/protocol.md, "PIN")."""

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from vyry.accounts import own_pin
from vyry.accounts.pin import Guesser, checks_left
from vyry.accounts.proofs import read_proof
from vyry.errors import InvalidOtp, InvalidPin, InvalidRecoveryCode, PinLocked
from vyry.limits import PIN_CHECKS
from web.app_keys import CALLER, GRANTS, SERVICES
from web.bodies import json_response, read_body
from web.route import Route
from web.wire.account import RecoveryCode
from web.wire.shapes import Count, Id, OneTimeCode, Pin, Timestamp, WireModel


NewPin = Annotated[str, Field(min_length=6, max_length=128, examples=["739251"])]


class PinStanding(WireModel):
    """Status of the PIN."""

    is_set: bool
    registration_lock: bool
    attempts_remaining: Count
    locked_until: Timestamp | None


class SetPin(WireModel):
    """A first PIN, or a new one that replaces `currentPin`. Without `registrationLock` the lock is unchanged (off by default)."""

    pin: NewPin
    current_pin: Pin | None = None
    registration_lock: bool | None = None


class GivenPin(WireModel):
    """The current PIN."""

    pin: Pin


class ResetPin(WireModel):
    """A new PIN for a forgotten one, with a code of purpose pinReset or the recovery code."""

    challenge_id: Id | None = None
    otp: OneTimeCode | None = None
    recovery_code: RecoveryCode | None = None
    new_pin: NewPin


class PinVerified(WireModel):
    """The PIN is correct."""

    verified: Literal[True]


async def show(request: web.Request) -> web.Response:
    """GET /account/pin."""
    return json_response(_pin_shape(await request.app[SERVICES].own_pin.status(request[CALLER])))


async def replace(request: web.Request) -> web.Response:
    """PUT /account/pin: sets a first PIN, or replaces the current one."""
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
    """POST /account/pin/reset: with a code sent to the account's number, or the recovery code."""
    body = await read_body(request, ResetPin)
    given = own_pin.PinReset(body.new_pin, read_proof(body.challenge_id, body.otp, body.recovery_code))
    return _pin_response(request, await request.app[SERVICES].own_pin.reset(request[CALLER], given))


async def remove(request: web.Request) -> web.Response:
    """POST /account/pin/remove."""
    body = await read_body(request, GivenPin)
    return _pin_response(request, await request.app[SERVICES].own_pin.remove(request[CALLER], body.pin))


def _pin_response(request: web.Request, status: own_pin.PinStatus) -> web.Response:
    """The PIN's status, with the remaining PIN checks in the headers."""
    _set_grants(request)
    return json_response(_pin_shape(status))


def _set_grants(request: web.Request) -> None:
    request[GRANTS] = checks_left(request.app[SERVICES].buckets, Guesser.from_caller(request[CALLER]))


def _pin_shape(status: own_pin.PinStatus) -> PinStanding:
    return PinStanding(
        is_set=status.is_set,
        registration_lock=status.registration_lock,
        attempts_remaining=status.attempts_remaining,
        locked_until=status.locked_until,
    )


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/account/pin",
        operation="pin.show",
        handler=show,
        summary="Whether a PIN is set, and how many attempts are left",
        responses={200: PinStanding},
    ),
    Route(
        method="PUT",
        path="/api/v1/account/pin",
        operation="pin.replace",
        handler=replace,
        summary="Set the PIN, or change it with the current one; all devices get a notice",
        body=SetPin,
        responses={200: PinStanding},
        refusals=(InvalidPin, PinLocked),
        documented_quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/account/pin/verify",
        operation="pin.verify",
        handler=verify,
        summary="Check the PIN; a wrong PIN uses one attempt",
        body=GivenPin,
        responses={200: PinVerified},
        refusals=(InvalidPin, PinLocked),
        documented_quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/account/pin/reset",
        operation="pin.reset",
        handler=reset,
        summary="Reset the PIN with a code sent to the account's number, or with the recovery code; lifts a lock",
        body=ResetPin,
        responses={200: PinStanding},
        refusals=(InvalidOtp, InvalidRecoveryCode),
        documented_quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/account/pin/remove",
        operation="pin.remove",
        handler=remove,
        summary="Remove the PIN",
        body=GivenPin,
        responses={200: PinStanding},
        refusals=(InvalidPin, PinLocked),
        documented_quota=PIN_CHECKS,
    ),
)
