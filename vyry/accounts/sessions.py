"""Who is calling: access tokens, socket tickets and the rotation of refresh tokens.

A refresh token is good once. Whoever presents a used one is either a thief or robbed by one, and nobody can tell which: the whole family ends. The one
exception is a client whose answer got lost: it repeats its attempt under the same attemptId within 30 s, and the successor it never saw dies unused.
"""

import secrets
import struct
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
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
#: Verified tokens that are remembered, so that their signatures are checked once.
REMEMBERED: Final = 20_000
_TICKET: Final = struct.Struct(">16s16sIQ")


@dataclass(frozen=True, slots=True)
class Rotation:
    """An attempt to exchange the refresh token `hash` for `successor`."""

    hash: str
    successor: str
    attempt_id: UUID
    now: datetime
    idle_lifetime: timedelta
    retry_window: timedelta = field(default=RETRY_WINDOW)
    #: What the end of a token is judged by (Clock.confirmed); `now` unless given.
    confirmed: datetime | None = None

    @property
    def judged_at(self) -> datetime:
        """A token that ends by then has ended."""
        return self.confirmed or self.now


@dataclass(frozen=True, slots=True)
class Rotated:
    """The exchange was made: the successor is good until `expires_at`."""

    user_id: UserId
    device: UUID
    generation: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Reused:
    """A used token was presented: the tokens of this device have just ended, every one."""

    ended: EndedDevice


RotationOutcome: TypeAlias = Rotated | Reused | None


class SessionStore(Protocol):
    """The truth about refresh tokens."""

    async def rotate(self, rotation: Rotation) -> RotationOutcome:
        """Exchange a token for its successor, in one transaction under the lock of the device: of parallel exchanges one wins.

        None: the token is unknown, expired, or its device has ended. Reused: it was exchanged before, and this is no retry of that attempt within the
        window with the successor still unused (that one dies and the new one takes its place). Raises Unavailable.
        """
        ...


class Tickets(Protocol):
    """Short-lived values that can be taken once."""

    async def save(self, key: str, value: bytes, lifetime: timedelta) -> None:
        """Keep a value for this long. Raises Unavailable."""
        ...

    async def pop(self, key: str) -> bytes | None:
        """The value, to the first who asks; None to everyone else. Raises Unavailable."""
        ...


class Sessions:
    """Recognises callers, and keeps their sessions going."""

    def __init__(
        self,
        store: SessionStore,
        tickets: Tickets,
        tokens: Tokens,
        standings: DeviceStatusCache,
        endings: SessionRevocations,
    ) -> None:
        self._store = store
        self._tickets = tickets
        self._tokens = tokens
        self._device_statuses = standings
        self._revocations = endings
        self._verified: LruCache[bytes, Claims] = LruCache(REMEMBERED)

    async def authenticate(self, token: str) -> Caller:
        """Who this access token speaks for. An ended device or family is refused within a second. Raises InvalidToken, Unavailable."""
        return await self._authenticate_claims(self._verified_claims(token))

    async def check_still_valid(self, caller: Caller) -> None:
        """Whether somebody recognised before still may speak: for sockets, which outlive their upgrade. Raises InvalidToken, Unavailable."""
        await self._authenticate_claims(
            Claims(caller.user_id, caller.device, caller.generation, caller.expires_at, caller.key_id)
        )

    def has_valid_key(self, caller: Caller) -> bool:
        """Whether the key that signed the caller's token is still one of ours: a leaked one is dropped at once."""
        return self._tokens.keys.is_valid(caller.key_id)

    async def issue_ticket(self, caller: Caller) -> str:
        """A ticket that stands for this caller once, for 30 s."""
        text = secrets.token_urlsafe(32)
        expires_at = to_milliseconds(caller.expires_at)
        value = (
            _TICKET.pack(caller.user_id.bytes, caller.device.bytes, caller.generation, expires_at)
            + caller.key_id.encode()
        )
        await self._tickets.save(hash_token(text), value, TICKET_LIFETIME)
        return text

    async def redeem_ticket(self, ticket: str) -> Caller:
        """Who this socket ticket speaks for; a ticket is good once. Raises InvalidToken, Unavailable."""
        value = await self._tickets.pop(hash_token(ticket))
        if value is None:
            raise InvalidToken
        user, device, generation, expires_at = _TICKET.unpack_from(value)
        key_id = value[_TICKET.size :].decode()
        claims = Claims(UserId(UUID(bytes=user)), UUID(bytes=device), generation, from_milliseconds(expires_at), key_id)
        return await self._authenticate_claims(claims)

    async def refresh(self, token: str, attempt_id: UUID) -> TokenPair:
        """New tokens for a refresh token, which is dead from now on. Raises InvalidToken (a reused token ends the whole family), Unavailable."""
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
        """The claims of a token whose signature is checked now or was before."""
        key = sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._verified.get(key)
        if claims is None:
            claims = self._tokens.verify(token)
            self._verified.put(key, claims)
        return claims

    async def _authenticate_claims(self, claims: Claims) -> Caller:
        now = self._tokens.clock.now()
        # A token made while the clock was ahead would outlive all others.
        is_late_or_ahead = (
            not claims.expires_at - self._tokens.access_lifetime - JUMP_THRESHOLD <= now < claims.expires_at + LEEWAY
        )
        if is_late_or_ahead or not self._tokens.keys.is_valid(claims.key_id):
            raise InvalidToken
        standing = await self._device_statuses.get(claims.device)
        if standing is None or (standing.user_id, standing.generation) != (claims.user_id, claims.generation):
            raise InvalidToken
        return _caller(standing, claims)


def _caller(standing: DeviceStatus, claims: Claims) -> Caller:
    return Caller(
        standing.user_id,
        standing.device_id,
        standing.device,
        standing.mailbox,
        standing.mailbox_id,
        standing.is_primary,
        claims.expires_at,
        standing.generation,
        claims.key_id,
    )
