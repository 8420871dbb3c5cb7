"""Sign-up and sessions."""

from typing import Final

from vyry.errors import (
    Forbidden,
    InvalidOtp,
    InvalidPin,
    InvalidToken,
    PinLocked,
    PinRequired,
)
from vyry.limits import DEVICE_REQUESTS, OTP_NUMBER, PIN_CHECKS
from web.app_keys import Route
from web.handlers import auth
from web.wire.auth import CodeSent, RefreshTokens, RequestOtp, Session, SignedUp, Tokens, Unlock, VerifyOtp, WsTicket
from web.wire.shapes import Nothing


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/auth/request-otp",
        operation="auth.request_otp",
        handler=auth.request_otp,
        summary="Send a one-time code to a number, known or not",
        auth="open",
        body=RequestOtp,
        responses={200: CodeSent},
        quota=OTP_NUMBER,
    ),
    Route(
        method="POST",
        path="/api/v1/auth/verify-otp",
        operation="auth.verify_otp",
        handler=auth.verify_otp,
        summary="Sign up with the code: a new primary device; all others of the account end. A registration lock asks for the PIN first",
        auth="open",
        body=VerifyOtp,
        responses={200: SignedUp},
        refusals=(InvalidOtp, Forbidden),
    ),
    Route(
        method="POST",
        path="/api/v1/auth/unlock",
        operation="auth.unlock",
        handler=auth.unlock,
        summary="Pass a registration lock with the PIN",
        auth="open",
        body=Unlock,
        responses={200: Session},
        refusals=(InvalidToken, InvalidPin, PinLocked, PinRequired, Forbidden),
        quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/auth/refresh-token",
        operation="auth.refresh_token",
        handler=auth.refresh_token,
        summary="Exchange the refresh token for new tokens; used twice, it ends its whole family",
        auth="open",
        body=RefreshTokens,
        responses={200: Tokens},
        refusals=(InvalidToken,),
    ),
    Route(
        method="POST",
        path="/api/v1/auth/logout",
        operation="auth.logout",
        handler=auth.logout,
        summary="End this device: tokens, sockets, keys and mailbox",
        responses={200: Nothing},
        shared_quota=DEVICE_REQUESTS,
    ),
    Route(
        method="POST",
        path="/api/v1/auth/ws-ticket",
        operation="auth.ws_ticket",
        handler=auth.ws_ticket,
        summary="A ticket that opens one socket, for clients that can set no headers",
        responses={200: WsTicket},
        shared_quota=DEVICE_REQUESTS,
    ),
)
