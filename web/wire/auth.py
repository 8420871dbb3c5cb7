"""Shapes of sign-up and sessions (docs/protocol.md, "Sign-up and sessions")."""

from typing import Annotated, Literal

from pydantic import Field, RootModel

from vyry.accounts import signup as arrival
from vyry.accounts.registration_lock import TOKEN_LIFETIME
from vyry.accounts.signup import NewSession
from vyry.accounts.tokens import TokenPair
from vyry.kernel.phone_numbers import MAX_LENGTH
from web.wire.pin import Pin
from web.wire.shapes import Count, Id, WireModel
from web.wire.texts import Name


#: The opaque tokens have 43 characters; anything longer is none of ours.
OpaqueToken = Annotated[str, Field(min_length=1, max_length=128)]


class RequestOtp(WireModel):
    """Send a code to this number."""

    phone_number: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH, examples=["+41791234567"])]
    channel: Literal["sms", "voice"] = "sms"
    purpose: Literal["login", "pinReset", "deleteAccount"] = "login"


class CodeSent(WireModel):
    """A code is on its way, whoever has the number."""

    challenge_id: Id
    expires_in_seconds: Count
    resend_after_seconds: Count


class DeviceDescription(WireModel):
    """What a new device says of itself."""

    name: Name
    platform: Literal["ios", "android", "web", "desktop", "cli"]


class VerifyOtp(WireModel):
    """The code that came, and the device that signs up with it."""

    challenge_id: Id
    otp: Annotated[str, Field(min_length=1, max_length=16, examples=["012345"])]
    device: DeviceDescription


class Unlock(WireModel):
    """The PIN of an account whose registration lock holds, and the device that signs up with it."""

    registration_token: OpaqueToken
    pin: Pin
    device: DeviceDescription


class RefreshTokens(WireModel):
    """Exchange a refresh token. `attemptId` is new for each attempt and repeated on a retry of it."""

    refresh_token: OpaqueToken
    attempt_id: Id


class Tokens(WireModel):
    """The tokens of a session; the refresh token is good once."""

    access_token: str
    refresh_token: str
    expires_in_seconds: Count
    refresh_expires_in_seconds: Count

    @classmethod
    def from_domain(cls, pair: TokenPair) -> "Tokens":
        """As the wire has it."""
        return Tokens(
            access_token=pair.access,
            refresh_token=pair.refresh,
            expires_in_seconds=round(pair.access_lifetime.total_seconds()),
            refresh_expires_in_seconds=round(pair.refresh_lifetime.total_seconds()),
        )


class Session(Tokens):
    """A session that has just begun, and whose it is."""

    user_id: Id
    device_id: Annotated[int, Field(ge=1, le=127)]
    is_new_user: bool
    requires_profile_setup: bool

    @classmethod
    def from_new_session(cls, made: NewSession) -> "Session":
        """As the wire has it."""
        return cls(
            **Tokens.from_domain(made.tokens).model_dump(by_alias=False),
            user_id=made.user_id,
            device_id=made.device_id,
            is_new_user=made.is_new_user,
            requires_profile_setup=made.requires_profile_setup,
        )


class PinAsked(WireModel):
    """A registration lock holds and nothing has changed yet: give the PIN beside this token."""

    requires_pin: Literal[True]
    registration_token: str
    expires_in_seconds: Count
    user_id: None

    @classmethod
    def from_domain(cls, asked: arrival.PinChallenge) -> "PinAsked":
        """As the wire has it."""
        seconds = round(TOKEN_LIFETIME.total_seconds())
        return cls(requires_pin=True, registration_token=asked.token, expires_in_seconds=seconds, user_id=None)


class SignedUp(RootModel[Session | PinAsked]):
    """A session, or the PIN is asked for first."""


class WsTicket(WireModel):
    """A ticket for one socket, for clients that cannot set headers."""

    ticket: str
    expires_in_seconds: Count


class SocketQuery(WireModel):
    """A browser, which can set no header, names its ticket."""

    ticket: Annotated[str, Field(min_length=1, max_length=128)] | None = None
