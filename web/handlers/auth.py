"""Sign-up and sessions."""

from aiohttp import web

from vyry.accounts import signup as arrival
from vyry.accounts.account import Platform
from vyry.accounts.otp import Channel, Purpose
from vyry.accounts.otp_limits import CODE_LIFETIME, RESEND_AFTER
from vyry.accounts.pin import Guesser
from vyry.accounts.pin_checks import checks_left
from vyry.accounts.registration import RequestOrigin
from vyry.accounts.sessions import TICKET_LIFETIME
from vyry.accounts.signup_guard import PROOF_HEADER
from vyry.accounts.tokens import TokenPair
from web.app_keys import CALLER, GRANTS, SERVICES
from web.auth import client_address
from web.wire.auth import CodeSent, PinAsked, RefreshTokens, RequestOtp, Session, Tokens, Unlock, VerifyOtp, WsTicket
from web.wire.shapes import Nothing
from web.wire.strict import json_response, read_body


async def request_otp(request: web.Request) -> web.Response:
    """POST /auth/request-otp: the same answer for every number."""
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
    """POST /auth/verify-otp: a session on a new primary device, or the PIN is asked for first."""
    body = await read_body(request, VerifyOtp)
    registration = request.app[SERVICES].registration
    made = await registration.verify_otp(body.challenge_id, body.otp, body.device.name, Platform(body.device.platform))
    return json_response(
        PinAsked.from_domain(made) if isinstance(made, arrival.PinChallenge) else Session.from_new_session(made)
    )


async def unlock(request: web.Request) -> web.Response:
    """POST /auth/unlock: past a registration lock with the PIN."""
    body = await read_body(request, Unlock)
    device, services = body.device, request.app[SERVICES]
    made = await services.registration.unlock(body.registration_token, body.pin, device.name, Platform(device.platform))
    request[GRANTS] = checks_left(services.buckets, Guesser(made.user_id))
    return json_response(Session.from_new_session(made))


async def refresh_token(request: web.Request) -> web.Response:
    """POST /auth/refresh-token: new tokens; the old refresh token is dead."""
    body = await read_body(request, RefreshTokens)
    pair = await request.app[SERVICES].sessions.refresh(body.refresh_token, body.attempt_id)
    return json_response(_tokens(pair))


async def logout(request: web.Request) -> web.Response:
    """POST /auth/logout: the calling device ends."""
    await request.app[SERVICES].devices.end_current(request[CALLER])
    return json_response(Nothing())


async def ws_ticket(request: web.Request) -> web.Response:
    """POST /auth/ws-ticket: good for one socket."""
    ticket = await request.app[SERVICES].sessions.issue_ticket(request[CALLER])
    return json_response(WsTicket(ticket=ticket, expires_in_seconds=round(TICKET_LIFETIME.total_seconds())))


def _tokens(pair: TokenPair) -> Tokens:
    return Tokens(
        access_token=pair.access,
        refresh_token=pair.refresh,
        expires_in_seconds=round(pair.access_lifetime.total_seconds()),
        refresh_expires_in_seconds=round(pair.refresh_lifetime.total_seconds()),
    )
