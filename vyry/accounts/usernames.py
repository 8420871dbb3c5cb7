"""Usernames rest when they are given up: for 90 days nobody but the former owner can take one, so that nobody is taken for who had it before.

Of a resting name the database keeps a hash, the day on which it is free, and whose it was as long as that account lives (docs/adr/0023).
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Protocol

from vyry.clock import Clock
from vyry.kernel.ids import UserId
from vyry.limits import USERNAMES, Grant, Quota, rate_limit_error


#: How long a name rests, at least: to the end of the day.
RESERVATION: Final = timedelta(days=90)
_LABEL: Final = b"vyry username 1\0"


def name_hash(username: str) -> str:
    """What a resting name is stored as, in hex. It keeps a name from being read, not from being tried by who has the database."""
    return hashlib.sha256(_LABEL + username.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class UsernameRules:
    """What holds for usernames at a moment: so many of one account may rest at once."""

    now: datetime
    quota: Quota = USERNAMES
    #: What says that a name is free (Clock.confirmed); `now` unless given.
    confirmed: datetime | None = None

    @property
    def today(self) -> date:
        """A name is free from its day on."""
        return (self.confirmed or self.now).date()

    @property
    def released_on(self) -> date:
        """The day on which a name given up now is free. A day and no moment, so that it does not tell which deletion it belongs to."""
        return (self.now + RESERVATION).date() + timedelta(days=1)

    def check_reserved(self, resting: Sequence[date]) -> None:
        """May an account of which these names rest give up another one? Raises RateLimited with the wait for the first of them."""
        if len(resting) >= self.quota.windows[0].limit:
            raise rate_limit_error(self.quota, 0, self._seconds_until(min(resting, default=self.released_on)))

    def remaining(self, resting: Sequence[date]) -> Grant:
        """How many more names may come to rest."""
        limit = self.quota.windows[0].limit
        seconds = self._seconds_until(max(resting)) if resting else 0
        return Grant(limit, max(0, limit - len(resting)), seconds, self.quota.windows[0].seconds)

    def _seconds_until(self, day: date) -> int:
        return math.ceil((datetime.combine(day, time(), UTC) - self.now).total_seconds())


class ReservedUsernames(Protocol):
    """Knows which names rest."""

    async def reserved_until(self, user_id: UserId, today: date) -> Sequence[date]:
        """For each name that this account gave up and nobody else can take yet: the day on which it is free. Raises Unavailable."""
        ...


class Usernames:
    """The rules for usernames, and what they leave to an account."""

    def __init__(self, store: ReservedUsernames, clock: Clock, quota: Quota = USERNAMES) -> None:
        self._store = store
        self._clock = clock
        self._quota = quota

    def rules(self) -> UsernameRules:
        """What holds now."""
        return UsernameRules(self._clock.now(), self._quota, self._clock.confirmed_now())

    async def remaining(self, user_id: UserId) -> Grant:
        """How many more names of this account may come to rest. Raises Unavailable."""
        rules = self.rules()
        return rules.remaining(await self._store.reserved_until(user_id, rules.today))
