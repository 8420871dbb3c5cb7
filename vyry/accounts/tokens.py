"""The two tokens of a session: a short-lived signed access token, and an opaque refresh token of which only the hash is kept.

There is one algorithm, and one header for each key: a token with another header is refused before its signature is verified (see
vyry/accounts/signing.py), and so is a token in another encoding. Expiry has a leeway of 10 s for clocks that differ.
"""

import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

import jwt

from vyry.accounts.signing import ALGORITHM, KeyRing
from vyry.clock import Clock
from vyry.errors import InvalidToken
from vyry.kernel.ids import UserId
from vyry.kernel.time import from_milliseconds


ISSUER: Final = "vyry"
AUDIENCE: Final = "vyry-api"
LEEWAY: Final = timedelta(seconds=10)
FAMILY_LIFETIME: Final = timedelta(days=30)
#: Tokens of the node have some 450 characters; longer ones are not parsed.
MAX_TOKEN: Final = 2048

#: Three parts of base64url, the last of 32 bytes.
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")
_CLAIMS: Final = {"iss": str, "aud": str, "sub": str, "sid": str, "gen": int, "iat": int, "exp": int, "jti": str}
#: Seconds: no access token lives longer than JWT_EXPIRATION may be, nor to beyond the year 9999.
_LONGEST: Final = 86_400
_LAST_SECOND: Final = 253_402_300_799
_GENERATIONS: Final = 2**31


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid access token: the user, the device, and the session generation."""

    user_id: UserId
    device: UUID
    generation: int
    expires_at: datetime
    #: The key that signed it.
    key_id: str


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A new refresh token. `text` goes to the client only, `hash` to the store."""

    text: str = field(repr=False)
    hash: str
    expires_at: datetime
    family_ends_at: datetime


@dataclass(frozen=True, slots=True)
class TokenPair:
    """The tokens of a session, for the client."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    access_lifetime: timedelta
    refresh_lifetime: timedelta


def hash_token(text: str) -> str:
    """The stored form of an opaque token: SHA-256, in hex. Its random bits (192 or more) need no key."""
    # A header or a query may have lone surrogates: the hash is then unknown, and encoding must not raise.
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Tokens:
    """Issues tokens and verifies access tokens."""

    def __init__(self, keys: KeyRing, access_lifetime: timedelta, idle_lifetime: timedelta, clock: Clock) -> None:
        self.keys = keys
        self.access_lifetime = access_lifetime
        self.idle_lifetime = idle_lifetime
        self.clock = clock

    def new_refresh_token(self) -> RefreshToken:
        """The first refresh token of a new family."""
        text, now = secrets.token_urlsafe(32), self.clock.now()
        return RefreshToken(
            text, hash_token(text), now + min(self.idle_lifetime, FAMILY_LIFETIME), now + FAMILY_LIFETIME
        )

    def issue_pair(
        self, user_id: UserId, device: UUID, generation: int, refresh: str, refresh_expires_at: datetime
    ) -> TokenPair:
        """A new access token for this device, with the given refresh token."""
        access = self.issue(user_id, device, generation)
        return TokenPair(access, refresh, self.access_lifetime, refresh_expires_at - self.clock.now())

    def issue(self, user_id: UserId, device: UUID, generation: int) -> str:
        """An access token for this device, valid from now on for the access lifetime."""
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(device),
            "gen": generation,
            "iat": now,
            "exp": now + int(self.access_lifetime.total_seconds()),
            "jti": secrets.token_urlsafe(12),
        }
        key = self.keys.current_key()
        return jwt.encode(claims, key.secret, ALGORITHM, key.header)

    def verify(self, token: str) -> Claims:
        """The claims of a valid token. Raises InvalidToken."""
        if len(token) > MAX_TOKEN or not _SHAPE.fullmatch(token):
            raise InvalidToken
        key = self.keys.find_by_header(token.partition(".")[0])
        if key is None:
            raise InvalidToken
        try:
            # PyJWT accepts canonical base64url only (2.15.1): a token has one text.
            payload = jwt.PyJWS().decode(token, key.secret, algorithms=[ALGORITHM])
            found = json.loads(payload, object_pairs_hook=_unique)
            return _read(found, key.key_id, self.clock.now())
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise InvalidToken from None


def _read(found: object, key_id: str, now: datetime) -> Claims:
    """The claims. Raises ValueError if one is missing, unknown, of the wrong type or out of time."""
    # type() and not isinstance(): a boolean is an int, too.
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != _CLAIMS:
        raise ValueError("unexpected claims")
    match found:
        case {
            "iss": "vyry",
            "aud": "vyry-api",
            "sub": str(user),
            "sid": str(device),
            "gen": int(generation),
            "iat": int(iat),
            "exp": int(exp),
        }:
            pass
        case _:
            raise ValueError("unexpected claims")
    if not (0 <= iat < exp <= min(iat + _LONGEST, _LAST_SECOND) and 1 <= generation < _GENERATIONS):
        raise ValueError("impossible times")
    begin, end = (from_milliseconds(seconds * 1000) for seconds in (iat, exp))
    if now >= end + LEEWAY or now < begin - LEEWAY:
        raise ValueError("expired or not valid yet")
    return Claims(UserId(_uuid(user)), _uuid(device), generation, end, key_id)


def _uuid(text: str) -> UUID:
    """A UUID in canonical form."""
    found = UUID(text)
    if str(found) != text:
        raise ValueError("not in canonical form")
    return found


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name")
    return found
