"""The two tokens of a session: a short-lived signed access token, and an opaque refresh token of which only the hash is kept.

One algorithm, one header, one key: a token whose header says anything else is refused before its signature is looked at. Time is asked of the Clock,
not of the JWT library, so tests can pin it. Expiry has a leeway of 10 s for clocks that differ.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

import jwt

from vyry.clock import Clock, from_milliseconds
from vyry.errors import InvalidToken
from vyry.ids import UserId


ISSUER: Final = "vyry"
AUDIENCE: Final = "vyry-api"
LEEWAY: Final = timedelta(seconds=10)
FAMILY_LIFETIME: Final = timedelta(days=30)
#: Ours have some 450 characters; nothing longer is parsed.
MAX_TOKEN: Final = 2048

_ALGORITHM: Final = "HS256"
_HEADER: Final[dict[str, object]] = {"alg": _ALGORITHM, "typ": "at+jwt"}
#: Seconds beyond this are no moment of ours (year 9999).
_LAST_SECOND: Final = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good access token says: a device of a user, and which generation of the device's sessions it belongs to."""

    user_id: UserId
    device: UUID
    generation: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token just made. `text` is for the client alone, `hash` for the store."""

    text: str = field(repr=False)
    hash: str
    expires_at: datetime
    family_ends_at: datetime


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Both tokens of a session as the client gets them."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    access_lifetime: timedelta
    refresh_lifetime: timedelta


def hash_token(text: str) -> str:
    """What is stored of an opaque token: SHA-256, in hex. Its 256 random bits need no key."""
    # A header or a query can hold what is no text at all: it hashes to nothing we know, and must not break.
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Tokens:
    """Makes tokens and verifies access tokens."""

    def __init__(self, secret: bytes, access_lifetime: timedelta, idle_lifetime: timedelta, clock: Clock) -> None:
        self._secret = secret
        self._access_lifetime = access_lifetime
        self.idle_lifetime = idle_lifetime
        self.clock = clock

    def fresh(self) -> RefreshToken:
        """The first refresh token of a new family."""
        text, now = secrets.token_urlsafe(32), self.clock.now()
        return RefreshToken(
            text, hash_token(text), now + min(self.idle_lifetime, FAMILY_LIFETIME), now + FAMILY_LIFETIME
        )

    def pair(
        self, user_id: UserId, device: UUID, generation: int, refresh: str, refresh_expires_at: datetime
    ) -> TokenPair:
        """A session: a fresh access token for this device beside the refresh token given."""
        access = self.issue(user_id, device, generation)
        return TokenPair(access, refresh, self._access_lifetime, refresh_expires_at - self.clock.now())

    def issue(self, user_id: UserId, device: UUID, generation: int) -> str:
        """An access token for this device, good from now on for the access lifetime."""
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(device),
            "gen": generation,
            "iat": now,
            "exp": now + int(self._access_lifetime.total_seconds()),
            "jti": secrets.token_urlsafe(12),
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM, headers=_HEADER)

    def verify(self, token: str) -> Claims:
        """What the token says, if it is ours and in time. Raises InvalidToken."""
        if len(token) > MAX_TOKEN or not token.isascii():
            raise InvalidToken
        try:
            if jwt.get_unverified_header(token) != _HEADER:
                raise InvalidToken
            found = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "strict_aud": True},
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise InvalidToken from None
        return self._read(found)

    def _read(self, found: dict[str, object]) -> Claims:
        match found:
            case {
                "sub": str(user),
                "sid": str(device),
                "gen": int(generation),
                "iat": int(iat),
                "exp": int(exp),
                "jti": str(),
            }:
                pass
            case _:
                raise InvalidToken
        if not 0 <= iat < exp <= _LAST_SECOND:
            raise InvalidToken
        now = self.clock.now()
        expires_at = from_milliseconds(exp * 1000)
        if now >= expires_at + LEEWAY or now < from_milliseconds(iat * 1000) - LEEWAY:
            raise InvalidToken
        try:
            return Claims(UserId(UUID(user)), UUID(device), generation, expires_at)
        except ValueError:
            raise InvalidToken from None
