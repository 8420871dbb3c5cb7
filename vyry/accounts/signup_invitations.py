"""Invitations to sign up: an account without a phone number is made with the token of one. Invitations into groups are elsewhere (vyry/conversations).

Operators make them (vyry/operator/signup_invitations.py), and members as many a month as VYRY_MEMBER_INVITES allows. The token has 128 random bits; the
database stores a keyed hash of it, so a copy of the database gives no token. One statement claims a use.
"""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.phone import Pepper
from vyry.clock import Clock
from vyry.errors import Forbidden
from vyry.kernel.ids import UserId, new_id
from vyry.limits import MEMBER_INVITES, Grant, Quota, rate_limit_error


#: The most people of one invitation, and the longest time it is valid.
MAX_USES: Final = 1_000
MAX_LIFETIME: Final = timedelta(days=365)
#: The window in which the invitations of a member count, and how long a row is kept after it expired.
MONTH: Final = timedelta(days=30)
_TOKEN_BYTES: Final = 16
_LABEL: Final = b"vyry sign-up invitation 1"


@dataclass(frozen=True, slots=True)
class InvitationTerms:
    """How many people may use an invitation, how long it is valid, and a note for the list of its maker."""

    max_uses: int = 1
    lifetime: timedelta = timedelta(days=7)
    label: str | None = None


@dataclass(frozen=True, slots=True)
class SignupInvitation:
    """An invitation, without its token. `user_id` made it; None: an operator did."""

    invitation_id: UUID
    user_id: UserId | None
    label: str | None
    max_uses: int
    uses: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """`open`, or why it cannot be used: `revoked`, `used`, `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.uses >= self.max_uses:
            return "used"
        return "expired" if self.expires_at <= now else "open"


@dataclass(frozen=True, slots=True)
class InvitationPage:
    """A page of invitations, newest first; `next_cursor` is None on the last page."""

    invitations: Sequence[SignupInvitation]
    next_cursor: UUID | None


@dataclass(frozen=True, slots=True)
class InvitationToken:
    """A new token: `text` for the person who is invited, `hash` for the database, under the pepper with this id."""

    text: str = field(repr=False)
    hash: str
    pepper_id: int


@dataclass(frozen=True, slots=True)
class MemberQuota:
    """How many people a member may invite in 30 days. What a revoked invitation left unused counts no more."""

    now: datetime
    quota: Quota

    @property
    def since(self) -> datetime:
        """Invitations made before do not count."""
        return self.now - MONTH

    def check(self, recent: Sequence[SignupInvitation], wanted: int) -> None:
        """Check whether `wanted` more may be invited, given the invitations since then. Raises Forbidden if never, RateLimited with the wait."""
        limit = self.quota.windows[0].limit
        if wanted > limit:
            raise Forbidden("Members cannot invite on this node." if limit == 0 else f"At most {limit} people a month.")
        left = limit - sum(map(_cost, recent))
        for each in sorted(recent, key=lambda invitation: invitation.created_at):
            if left >= wanted:
                return
            left += _cost(each)
            if left >= wanted:
                raise rate_limit_error(self.quota, 0, (each.created_at + MONTH - self.now).total_seconds())

    def remaining(self, recent: Sequence[SignupInvitation]) -> Grant:
        """What is left."""
        window = self.quota.windows[0]
        newest = max((each.created_at for each in recent if _cost(each)), default=self.since)
        reset = math.ceil((newest + MONTH - self.now).total_seconds())
        return Grant(window.limit, max(0, window.limit - sum(map(_cost, recent))), reset, window.seconds)


def _cost(invitation: SignupInvitation) -> int:
    return invitation.max_uses if invitation.revoked_at is None else invitation.uses


def new_invitation(maker: UserId | None, terms: InvitationTerms, now: datetime) -> SignupInvitation:
    """An invitation that no one has used."""
    return SignupInvitation(new_id(), maker, terms.label, terms.max_uses, 0, now, now + terms.lifetime)


def new_token(pepper: Pepper) -> InvitationToken:
    """A token of 128 random bits. Raises Unavailable."""
    text = secrets.token_urlsafe(_TOKEN_BYTES)
    return InvitationToken(text, pepper.keyed_hash(_LABEL, text.encode()).hex(), pepper.in_use)


def token_hashes(pepper: Pepper, token: str) -> Sequence[str]:
    """The hashes of a token under every pepper. Raises Unavailable."""
    hashes: Mapping[int, bytes] = pepper.keyed_hashes(_LABEL, token.encode(errors="replace"))
    return [each.hex() for each in hashes.values()]


def invitation_link(origin: str, token: str) -> str:
    """The link of an invitation. The token stands after `#`, so a browser does not send it to a server, and no server logs it."""
    return f"{origin}/#invite={token}"


class SignupInvitationStore(Protocol):
    """Stores the invitations of members. Every method raises `Unavailable` while the database is down."""

    async def create(self, invitation: SignupInvitation, token: InvitationToken, quota: MemberQuota) -> Grant:
        """Save an invitation if the quota allows it, in one transaction that locks the account of its maker; returns what is left.

        Raises Forbidden, RateLimited, NotFound for a deleted account.
        """
        ...

    async def list_open(
        self, maker: UserId, now: datetime, limit: int, after: UUID | None
    ) -> Sequence[SignupInvitation]:
        """At most `limit` invitations of a member that are neither expired nor revoked, newest first, from the one behind `after` on; used up ones are included."""
        ...

    async def list_since(self, maker: UserId, since: datetime) -> Sequence[SignupInvitation]:
        """The invitations that a member made since then."""
        ...

    async def revoke(self, maker: UserId, invitation_id: UUID, now: datetime) -> None:
        """Revoke an invitation. Raises NotFound for one that is revoked, expired, or of another account."""
        ...


class SignupInvitations:
    """Makes, lists and revokes the invitations of a member."""

    def __init__(
        self, store: SignupInvitationStore, pepper: Pepper, clock: Clock, quota: Quota = MEMBER_INVITES
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._clock = clock
        self._quota = quota

    async def create(self, maker: UserId, terms: InvitationTerms) -> tuple[SignupInvitation, str, Grant]:
        """Make an invitation; its token is returned this once. Raises Forbidden, RateLimited, Unavailable."""
        now = self._clock.now()
        invitation, token = new_invitation(maker, terms, now), new_token(self._pepper)
        grant = await self._store.create(invitation, token, MemberQuota(now, self._quota))
        return invitation, token.text, grant

    async def list(self, maker: UserId, limit: int, after: UUID | None) -> InvitationPage:
        """The invitations that are neither expired nor revoked, newest first."""
        found = await self._store.list_open(maker, self._clock.now(), limit + 1, after)
        return InvitationPage(found[:limit], found[limit - 1].invitation_id if len(found) > limit else None)

    async def revoke(self, maker: UserId, invitation_id: UUID) -> None:
        """Revoke an invitation. Raises NotFound."""
        await self._store.revoke(maker, invitation_id, self._clock.now())

    async def remaining(self, maker: UserId) -> Grant:
        """How many more people this member may invite. Raises Unavailable."""
        quota = MemberQuota(self._clock.now(), self._quota)
        return quota.remaining(await self._store.list_since(maker, quota.since))
