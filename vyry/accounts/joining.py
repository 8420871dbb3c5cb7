"""Joining: an account without a phone number, made with an invitation, or without one on an open node (VYRY_SIGN_UP).

One transaction claims a use of the invitation and makes the account: a username that is taken leaves the invitation as it was. A client that got no
answer repeats its request with the same attempt id within ATTEMPT_LIFETIME, and gets the same account with another first device.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.account import NewDevice, Platform, SignupResult
from vyry.accounts.device_status import SessionRevocations
from vyry.accounts.phone import Pepper
from vyry.accounts.recovery_codes import new_recovery_code
from vyry.accounts.signup import NewSession, new_device, open_session
from vyry.accounts.signup_invitations import token_hashes
from vyry.accounts.tokens import Tokens
from vyry.accounts.usernames import UsernameRules, Usernames
from vyry.errors import Forbidden, InvalidRequest
from vyry.kernel.ids import UserId, new_id
from vyry.limits import JOIN, Grant, Limiter, network_key


ATTEMPT_LIFETIME: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A person who joins: the token of the invitation, the id of the attempt, the profile and the device."""

    token: str | None = field(repr=False)
    attempt_id: UUID | None
    username: str | None
    display_name: str | None
    device_name: str
    platform: Platform


@dataclass(frozen=True, slots=True)
class JoiningAccount:
    """The account to be made; `attempt_hash` identifies the attempt, and is None if it cannot be repeated."""

    user_id: UserId
    username: str | None
    display_name: str | None
    recovery_hash: str
    attempt_hash: str | None
    pepper_id: int


class JoinStore(Protocol):
    """Makes accounts without a number."""

    async def join(
        self, hashes: Sequence[str] | None, account: JoiningAccount, device: NewDevice, names: UsernameRules
    ) -> SignupResult:
        """Claim a use of the invitation with one of these token hashes (None: none is needed), and make the account with its primary device.

        An attempt that has succeeded within ATTEMPT_LIFETIME claims nothing: its account gets this recovery code, and this device in place of all others.
        Raises NotFound for an invitation that is unknown, used up, revoked or expired, and UsernameTaken, both of which change nothing;
        Forbidden if the account of the attempt is suspended; Unavailable.
        """
        ...


class Joining:
    """Makes accounts by invitation. `ways` are the values of VYRY_SIGN_UP."""

    def __init__(
        self,
        store: JoinStore,
        *,
        ways: Collection[str],
        names: Usernames,
        tokens: Tokens,
        revocations: SessionRevocations,
        pepper: Pepper,
        limiter: Limiter,
    ) -> None:
        self._store = store
        self._ways = frozenset(ways)
        self._names = names
        self._tokens = tokens
        self._revocations = revocations
        self._pepper = pepper
        self._limiter = limiter

    async def join(self, request: JoinRequest, address: str) -> tuple[NewSession, Grant]:
        """Make the account and its session, with a recovery code. Raises Forbidden, InvalidRequest, NotFound, UsernameTaken, RateLimited, Unavailable."""
        hashes = self._hashes(request.token)
        grant = await self._limiter.consume(JOIN, network_key(address))
        code, refresh = new_recovery_code(), self._tokens.new_refresh_token()
        device = new_device(refresh, request.device_name, request.platform)
        account = JoiningAccount(
            UserId(new_id()),
            request.username,
            request.display_name,
            code.hash,
            _attempt_hash(request),
            self._pepper.in_use,
        )
        made = await self._store.join(hashes, account, device, self._names.rules())
        await self._revocations.announce(made.ended_devices)
        return open_session(self._tokens, made, device, refresh, recovery_code=code.text), grant

    def _hashes(self, token: str | None) -> Sequence[str] | None:
        """The hashes of the token; None if the node needs none. Raises Forbidden, InvalidRequest."""
        if token is not None and "invitation" in self._ways:
            return token_hashes(self._pepper, token)
        if "open" in self._ways:
            return None
        if "invitation" in self._ways:
            raise InvalidRequest(fields=[{"field": "inviteToken", "problem": "is required: ask for an invitation"}])
        raise Forbidden("This node makes no accounts by invitation.")


def _attempt_hash(request: JoinRequest) -> str | None:
    if request.attempt_id is None:
        return None
    token = (request.token or "").encode(errors="replace")
    return sha256(b"vyry join 1\0" + request.attempt_id.bytes + token).hexdigest()
