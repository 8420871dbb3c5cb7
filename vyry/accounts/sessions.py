"""Authentication: access tokens, socket tickets and the rotation of refresh tokens.

A refresh token is valid once. A used one that is presented again was stolen, from or by its sender: the node cannot distinguish the two and ends the
whole family. One exception: a client that got no response repeats the request with the same attemptId within 30 s; the successor it missed is revoked.
"""

import secrets
import struct
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias
from uuid import UUID

from vyry.accounts.account import Caller, EndedDevice
from vyry.accounts.device_status import DeviceStatus, DeviceStatusCache, SessionRevocations
from vyry.accounts.tokens import LEEWAY, Claims, TokenPair, Tokens, hash_token
from vyry.clock import JUMP_THRESHOLD
from vyry.errors import InvalidToken
from vyry.kernel.ids import UserId
from vyry.kernel.lru_cache import LruCache
from vyry.kernel.time import from_milliseconds, to_milliseconds


TICKET_LIFETIME: Final = timedelta(seconds=30)
RETRY_WINDOW: Final = timedelta(seconds=30)
#: How many verified tokens are cached, so a signature is verified once.
REMEMBERED: Final = 20_000
_TICKET: Final = struct.Struct(">16s16sIQ")


@dataclass(frozen=True, slots=True)
class Rotation:
    """A request to exchange the refresh token `hash` for `successor`."""

    hash: str
    successor: str
    attempt_id: UUID
    now: datetime
    idle_lifetime: timedelta
    retry_window: timedelta = field(default=RETRY_WINDOW)
    #: The time that expiry is judged by (Clock.confirmed_now); None: `now`.
    confirmed: datetime | None = None

    @property
    def judged_at(self) -> datetime:
        """A token that expires by then has expired."""
        return self.confirmed or self.now


@dataclass(frozen=True, slots=True)
class Rotated:
    """The token was exchanged; its successor is valid until `expires_at`."""

    user_id: UserId
    device: UUID
    generation: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Reused:
    """A used token was presented: all tokens of this device were revoked."""

    ended: EndedDevice


RotationOutcome: TypeAlias = Rotated | Reused | None


class SessionStore(Protocol):
    """Stores refresh tokens."""

    async def rotate(self, rotation: Rotation) -> RotationOutcome:
        """Exchange a token for its successor, in one transaction under the row lock of the device: of concurrent exchanges one succeeds.

        None: the token is unknown or expired, or its device has ended. Reused: the token was exchanged before, and this is no retry. A retry has the same
        attempt id, comes within the retry window and finds the earlier successor unused: that one is replaced. Raises Unavailable.
        """
        ...


class Tickets(Protocol):
    """Short-lived values that can be read once."""

    async def save(self, key: str, value: bytes, lifetime: timedelta) -> None:
        """Save a value for this time. Raises Unavailable."""
        ...

    async def pop(self, key: str) -> bytes | None:
        """Return and delete the value, atomically; None if it is gone. Raises Unavailable."""
        ...


class Sessions:
    """Authenticates callers and renews their sessions."""

    def __init__(
        self,
        store: SessionStore,
        tickets: Tickets,
        tokens: Tokens,
        device_statuses: DeviceStatusCache,
        revocations: SessionRevocations,
    ) -> None:
        self._store = store
        self._tickets = tickets
        self._tokens = tokens
        self._device_statuses = device_statuses
        self._revocations = revocations
        self._verified: LruCache[str, Claims] = LruCache(REMEMBERED)

    async def authenticate(self, token: str) -> Caller:
        """The caller of an access token. A revoked one is refused within a second. Raises InvalidToken, Unavailable."""
        return await self._authenticate_claims(self._verified_claims(token))

    async def check_still_valid(self, caller: Caller) -> None:
        """Check the session of an authenticated caller again, for open sockets. Raises InvalidToken, Unavailable."""
        await self._authenticate_claims(
            Claims(caller.user_id, caller.device, caller.generation, caller.expires_at, caller.key_id)
        )

    def has_valid_key(self, caller: Caller) -> bool:
        """Whether the key that signed the caller's token is still valid; a leaked key is dropped at once."""
        return self._tokens.keys.is_valid(caller.key_id)

    async def issue_ticket(self, caller: Caller) -> str:
        """A socket ticket for this caller: valid once, for 30 s."""
        text = secrets.token_urlsafe(32)
        expires_at = to_milliseconds(caller.expires_at)
        value = (
            _TICKET.pack(caller.user_id.bytes, caller.device.bytes, caller.generation, expires_at)
            + caller.key_id.encode()
        )
        await self._tickets.save(hash_token(text), value, TICKET_LIFETIME)
        return text

    async def redeem_ticket(self, ticket: str) -> Caller:
        """The caller of a socket ticket, which is consumed. Raises InvalidToken, Unavailable."""
        value = await self._tickets.pop(hash_token(ticket))
        if value is None:
            raise InvalidToken
        user, device, generation, expires_at = _TICKET.unpack_from(value)
        key_id = value[_TICKET.size :].decode()
        claims = Claims(UserId(UUID(bytes=user)), UUID(bytes=device), generation, from_milliseconds(expires_at), key_id)
        return await self._authenticate_claims(claims)

    async def refresh(self, token: str, attempt_id: UUID) -> TokenPair:
        """Exchange a refresh token for new tokens. Raises InvalidToken (a reused token ends the whole family), Unavailable."""
        fresh = self._tokens.new_refresh_token()
        clock, lifetime = self._tokens.clock, self._tokens.idle_lifetime
        rotation = Rotation(
            hash_token(token), fresh.hash, attempt_id, clock.now(), lifetime, confirmed=clock.confirmed_now()
        )
        match await self._store.rotate(rotation):
            case Rotated(user_id, device, generation, expires_at):
                return self._tokens.issue_pair(user_id, device, generation, fresh.text, expires_at)
            case Reused(ended):
                await self._revocations.announce([ended])
                raise InvalidToken
            case None:
                raise InvalidToken

    def _verified_claims(self, token: str) -> Claims:
        """The claims of a token; its signature is verified now or was before."""
        key = hash_token(token)
        claims = self._verified.get(key)
        if claims is None:
            claims = self._tokens.verify(token)
            self._verified.put(key, claims)
        return claims

    async def _authenticate_claims(self, claims: Claims) -> Caller:
        now = self._tokens.clock.now()
        # A token issued while the clock was ahead would be valid for too long.
        is_late_or_ahead = (
            not claims.expires_at - self._tokens.access_lifetime - JUMP_THRESHOLD <= now < claims.expires_at + LEEWAY
        )
        if is_late_or_ahead or not self._tokens.keys.is_valid(claims.key_id):
            raise InvalidToken
        status = await self._device_statuses.get(claims.device)
        if status is None or (status.user_id, status.generation) != (claims.user_id, claims.generation):
            raise InvalidToken
        return _caller(status, claims)


def _caller(status: DeviceStatus, claims: Claims) -> Caller:
    return Caller(
        status.user_id,
        status.device_id,
        status.device,
        status.mailbox,
        status.mailbox_id,
        status.is_primary,
        claims.expires_at,
        status.generation,
        claims.key_id,
    )
