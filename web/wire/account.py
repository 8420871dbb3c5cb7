"""Shapes that several features of an account share: sessions and account events."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from vyry.accounts.signup import NewSession
from vyry.accounts.tokens import TokenPair
from web.wire.shapes import Count, DeviceNumber, Id, Timestamp, WireModel


#: The node's opaque tokens have 43 characters.
OpaqueToken = Annotated[str, Field(min_length=1, max_length=128)]


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


class Event(WireModel):
    """A security event of the account. `deviceId` is the device that caused it or that it concerns."""

    at: Timestamp
    name: str
    device_id: DeviceNumber | None
    detail: Mapping[str, object]
