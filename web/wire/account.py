"""Shapes that several features of an account share: sessions and account events."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from vyry.accounts.registration_lock import TOKEN_LIFETIME
from vyry.accounts.signup import NewSession, PinChallenge
from vyry.accounts.tokens import TokenPair
from web.wire.shapes import Count, DeviceNumber, Id, Name, PlatformName, Timestamp, WireModel


#: The node's opaque tokens have 43 characters.
OpaqueToken = Annotated[str, Field(min_length=1, max_length=128)]
#: A recovery code as the person typed it.
RecoveryCode = Annotated[str, Field(min_length=1, max_length=128, examples=["000G-40R4-0M30-E209-185G-R38E-1W2P-FZX5"])]


class Tokens(WireModel):
    """The tokens of a session; the refresh token is valid once."""

    access_token: str
    refresh_token: str
    expires_in_seconds: Count
    refresh_expires_in_seconds: Count

    @classmethod
    def from_domain(cls, pair: TokenPair) -> "Tokens":
        """The shape of this domain value."""
        return Tokens(
            access_token=pair.access,
            refresh_token=pair.refresh,
            expires_in_seconds=round(pair.access_lifetime.total_seconds()),
            refresh_expires_in_seconds=round(pair.refresh_lifetime.total_seconds()),
        )


class Session(Tokens):
    """A new session, with its user and device."""

    user_id: Id
    device_id: DeviceNumber
    is_new_user: bool
    requires_profile_setup: bool

    @classmethod
    def from_new_session(cls, made: NewSession) -> "Session":
        """The shape of this domain value."""
        return cls(
            **Tokens.from_domain(made.tokens).model_dump(by_alias=False),
            user_id=made.user_id,
            device_id=made.device_id,
            is_new_user=made.is_new_user,
            requires_profile_setup=made.requires_profile_setup,
        )


class RecoveredSession(Session):
    """A new session, and the recovery code of the account, which no later response contains."""

    recovery_code: str

    @classmethod
    def from_new_session(cls, made: NewSession) -> "RecoveredSession":
        """The shape of this domain value, which has a recovery code."""
        session = Session.from_new_session(made).model_dump(by_alias=False)
        return cls(**session, recovery_code=made.recovery_code or "")


class DeviceDescription(WireModel):
    """Name and platform of a new device."""

    name: Name
    platform: PlatformName


class PinAsked(WireModel):
    """The account has a registration lock and nothing has changed yet: send the PIN with this token."""

    requires_pin: Literal[True]
    registration_token: str
    expires_in_seconds: Count
    user_id: None

    @classmethod
    def from_domain(cls, challenge: PinChallenge) -> "PinAsked":
        """The shape of this domain value."""
        seconds = round(TOKEN_LIFETIME.total_seconds())
        return cls(requires_pin=True, registration_token=challenge.token, expires_in_seconds=seconds, user_id=None)


class Event(WireModel):
    """A security event of the account. `deviceId` is the device that caused it or that it concerns."""

    at: Timestamp
    name: str
    device_id: DeviceNumber | None
    detail: Mapping[str, object]
