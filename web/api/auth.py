"""Sign-up and sessions (docs/protocol.md, "Sign-up and sessions")."""

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field, RootModel

from vyry.accounts.account import Platform
from vyry.accounts.otp import Channel, Purpose
from vyry.accounts.otp_limits import CODE_LIFETIME, RESEND_AFTER
from vyry.accounts.pin import Guesser, checks_left
from vyry.accounts.sessions import TICKET_LIFETIME
from vyry.accounts.signup import PROOF_HEADER, PinChallenge, RequestOrigin
from vyry.errors import Forbidden, InvalidOtp, InvalidPin, InvalidToken, PinLocked, PinRequired
from vyry.kernel.phone_numbers import MAX_LENGTH
from vyry.limits import DEVICE_REQUESTS, OTP_NUMBER, PIN_CHECKS
from web.app_keys import CALLER, GRANTS, SERVICES
from web.auth import client_address
from web.bodies import json_response, read_body
from web.route import Route
from web.wire.account import DeviceDescription, OpaqueToken, PinAsked, RecoveredSession, Session, Tokens
from web.wire.shapes import Count, Id, Nothing, OneTimeCode, Pin, WireModel


class RequestOtp(WireModel):
    """Request a one-time code for this phone number."""

    phone_number: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH, examples=["+41791234567"])]
    channel: Literal["sms", "voice"] = "sms"
    purpose: Literal["login", "pinReset", "deleteAccount"] = "login"


class CodeSent(WireModel):
    """The code was sent; the response is the same for every number."""

    challenge_id: Id
    expires_in_seconds: Count
    resend_after_seconds: Count


class VerifyOtp(WireModel):
    """The one-time code, and the device that signs up with it."""

    challenge_id: Id
    otp: OneTimeCode
    device: DeviceDescription


class Unlock(WireModel):
    """The PIN of an account with a registration lock, and the device that signs up."""

    registration_token: OpaqueToken
    pin: Pin
    device: DeviceDescription


class RefreshTokens(WireModel):
    """Exchange a refresh token. A retry repeats the `attemptId` of its attempt."""

    refresh_token: OpaqueToken
    attempt_id: Id


class SignedUp(RootModel[Session | PinAsked]):
    """A session, or a request for the PIN."""


class Unlocked(RootModel[Session | RecoveredSession]):
    """A session; with a new recovery code if one was given before the PIN."""


class WsTicket(WireModel):
    """A ticket for one socket, for clients that cannot set headers."""

    ticket: str
    expires_in_seconds: Count


async def request_otp(request: web.Request) -> web.Response:
    """POST /auth/request-otp: the same response for every number."""
    body = await read_body(request, RequestOtp)
    registration = request.app[SERVICES].registration
    purpose, channel = Purpose(body.purpose), Channel(body.channel)
    asking = RequestOrigin(client_address(request), request.headers.get(PROOF_HEADER))
    sent = await registration.request_otp(body.phone_number, purpose, channel, asking)
    request[GRANTS] = list(sent.grants)
    return json_response(
        CodeSent(
            challenge_id=sent.challenge_id,
            expires_in_seconds=round(CODE_LIFETIME.total_seconds()),
            resend_after_seconds=round(RESEND_AFTER.total_seconds()),
        )
    )


async def verify_otp(request: web.Request) -> web.Response:
    """POST /auth/verify-otp: a session on a new primary device, or a request for the PIN."""
    body = await read_body(request, VerifyOtp)
    registration = request.app[SERVICES].registration
    made = await registration.verify_otp(body.challenge_id, body.otp, body.device.name, Platform(body.device.platform))
    return json_response(
        PinAsked.from_domain(made) if isinstance(made, PinChallenge) else Session.from_new_session(made)
    )


async def unlock(request: web.Request) -> web.Response:
    """POST /auth/unlock: a session, with the PIN of a registration lock."""
    body = await read_body(request, Unlock)
    device, services = body.device, request.app[SERVICES]
    made = await services.registration.unlock(body.registration_token, body.pin, device.name, Platform(device.platform))
    request[GRANTS] = checks_left(services.buckets, Guesser(made.user_id))
    shape = Session if made.recovery_code is None else RecoveredSession
    return json_response(shape.from_new_session(made))


async def refresh_token(request: web.Request) -> web.Response:
    """POST /auth/refresh-token: new tokens; the old refresh token is no longer valid."""
    body = await read_body(request, RefreshTokens)
    pair = await request.app[SERVICES].sessions.refresh(body.refresh_token, body.attempt_id)
    return json_response(Tokens.from_domain(pair))


async def log_out(request: web.Request) -> web.Response:
    """POST /auth/logout: removes the calling device."""
    await request.app[SERVICES].devices.end_current(request[CALLER])
    return json_response(Nothing())


async def ws_ticket(request: web.Request) -> web.Response:
    """POST /auth/ws-ticket: a ticket for one socket."""
    ticket = await request.app[SERVICES].sessions.issue_ticket(request[CALLER])
    return json_response(WsTicket(ticket=ticket, expires_in_seconds=round(TICKET_LIFETIME.total_seconds())))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/auth/request-otp",
        operation="auth.request_otp",
        handler=request_otp,
        summary="Send a one-time code to a phone number, registered or not",
        auth="open",
        body=RequestOtp,
        responses={200: CodeSent},
        refusals=(Forbidden,),
        documented_quota=OTP_NUMBER,
    ),
    Route(
        method="POST",
        path="/api/v1/auth/verify-otp",
        operation="auth.verify_otp",
        handler=verify_otp,
        summary="Sign up with the code: a new primary device; all other devices of the account end. A registration lock requires the PIN first",
        auth="open",
        body=VerifyOtp,
        responses={200: SignedUp},
        refusals=(InvalidOtp, Forbidden),
    ),
    Route(
        method="POST",
        path="/api/v1/auth/unlock",
        operation="auth.unlock",
        handler=unlock,
        summary="Pass a registration lock with the PIN",
        auth="open",
        body=Unlock,
        responses={200: Unlocked},
        refusals=(InvalidToken, InvalidPin, PinLocked, PinRequired, Forbidden),
        documented_quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/auth/refresh-token",
        operation="auth.refresh_token",
        handler=refresh_token,
        summary="Exchange the refresh token for new tokens; reuse revokes its whole token family",
        auth="open",
        body=RefreshTokens,
        responses={200: Tokens},
        refusals=(InvalidToken,),
    ),
    Route(
        method="POST",
        path="/api/v1/auth/logout",
        operation="auth.logout",
        handler=log_out,
        summary="End this device: tokens, sockets, keys and mailbox",
        responses={200: Nothing},
        shared_quota=DEVICE_REQUESTS,
    ),
    Route(
        method="POST",
        path="/api/v1/auth/ws-ticket",
        operation="auth.ws_ticket",
        handler=ws_ticket,
        summary="A ticket that opens one socket, for clients that cannot set headers",
        responses={200: WsTicket},
        shared_quota=DEVICE_REQUESTS,
    ),
)
