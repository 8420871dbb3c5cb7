"""The two tokens of a session: a short-lived signed access token, and an opaque refresh token of which only the hash is kept.

One algorithm, one header per key: a token whose header is another one is refused before its signature is looked at (see vyry/accounts/signing.py), and so is
what is not written in the one way we write it. Time is asked of the Clock, so tests can pin it. Expiry has a leeway of 10 s for clocks that differ.
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
#: Ours have some 450 characters; nothing longer is parsed.
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
    """What a good access token says: a device of a user, and which generation of the device's sessions it belongs to."""

    user_id: UserId
    device: UUID
    generation: int
    expires_at: datetime
    #: Which key of the ring signed it.
    key_id: str


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
        """A session: a fresh access token for this device beside the refresh token given."""
        access = self.issue(user_id, device, generation)
        return TokenPair(access, refresh, self.access_lifetime, refresh_expires_at - self.clock.now())

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
            "exp": now + int(self.access_lifetime.total_seconds()),
            "jti": secrets.token_urlsafe(12),
        }
        key = self.keys.current_key()
        return jwt.encode(claims, key.secret, ALGORITHM, key.header)

    def verify(self, token: str) -> Claims:
        """What the token says, if it is ours and in time. Raises InvalidToken."""
        if len(token) > MAX_TOKEN or not _SHAPE.fullmatch(token):
            raise InvalidToken
        key = self.keys.find_by_header(token.partition(".")[0])
        if key is None:
            raise InvalidToken
        try:
            # It takes base64url in its one form alone (2.15.1): no second text is the same token.
            said = jwt.PyJWS().decode(token, key.secret, algorithms=[ALGORITHM])
            found = json.loads(said, object_pairs_hook=_unique)
            return _read(found, key.key_id, self.clock.now())
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise InvalidToken from None


def _read(found: object, key_id: str, now: datetime) -> Claims:
    """The claims, all of them, of the right type, and in time. Raises ValueError otherwise."""
    # By type itself, because to Python a boolean is an int, too.
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != _CLAIMS:
        raise ValueError("not our claims")
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
            raise ValueError("not our claims")
    if not (0 <= iat < exp <= min(iat + _LONGEST, _LAST_SECOND) and 1 <= generation < _GENERATIONS):
        raise ValueError("no times of ours")
    begin, end = (from_milliseconds(seconds * 1000) for seconds in (iat, exp))
    if now >= end + LEEWAY or now < begin - LEEWAY:
        raise ValueError("not in time")
    return Claims(UserId(_uuid(user)), _uuid(device), generation, end, key_id)


def _uuid(text: str) -> UUID:
    """A UUID in its one form."""
    found = UUID(text)
    if str(found) != text:
        raise ValueError("not in the one form")
    return found


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
