"""The caller's PIN."""

from typing import Final

from vyry.errors import InvalidOtp, InvalidPin, PinLocked
from vyry.limits import PIN_CHECKS
from web.app_keys import Route
from web.handlers import pin
from web.wire.pin import GivenPin, PinStanding, PinVerified, ResetPin, SetPin


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/account/pin",
        operation="pin.show",
        handler=pin.show,
        summary="Whether there is a PIN, and how many tries are left",
        responses={200: PinStanding},
    ),
    Route(
        method="PUT",
        path="/api/v1/account/pin",
        operation="pin.replace",
        handler=pin.replace,
        summary="Set the PIN, or change it with the present one as proof; all devices are told",
        body=SetPin,
        responses={200: PinStanding},
        refusals=(InvalidPin, PinLocked),
        quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/account/pin/verify",
        operation="pin.verify",
        handler=pin.verify,
        summary="Whether this is the PIN; a wrong one is a try less",
        body=GivenPin,
        responses={200: PinVerified},
        refusals=(InvalidPin, PinLocked),
        quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/account/pin/reset",
        operation="pin.reset",
        handler=pin.reset,
        summary="Set another PIN by a code sent to the account's number; a lock is lifted",
        body=ResetPin,
        responses={200: PinStanding},
        refusals=(InvalidOtp,),
        quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/account/pin/remove",
        operation="pin.remove",
        handler=pin.remove,
        summary="Have no PIN any more",
        body=GivenPin,
        responses={200: PinStanding},
        refusals=(InvalidPin, PinLocked),
        quota=PIN_CHECKS,
    ),
)
