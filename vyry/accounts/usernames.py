"""Released usernames are reserved: for 90 days only the former owner can take the name, so no other account is mistaken for it.

The database stores a hash of a reserved name, the day on which it becomes free, and its former owner until that account is deleted (docs/adr/0023).
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


#: How long a name is reserved, at least: to the end of that day.
RESERVATION: Final = timedelta(days=90)
_LABEL: Final = b"vyry username 1\0"


def name_hash(username: str) -> str:
    """The stored hash of a reserved name, in hex. It hides the name, but a copy of the database allows guesses."""
    return hashlib.sha256(_LABEL + username.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class UsernameRules:
    """The rules for usernames at a given time; the quota is how many names of one account may be reserved at once."""

    now: datetime
    quota: Quota = USERNAMES
    #: The time that decides whether a name is free (Clock.confirmed_now); None: `now`.
    confirmed: datetime | None = None

    @property
    def today(self) -> date:
        """The day by which a name is free or reserved."""
        return (self.confirmed or self.now).date()

    @property
    def released_on(self) -> date:
        """The day on which a name released now becomes free. A day and not a time: a time would link the name to a deletion."""
        return (self.now + RESERVATION).date() + timedelta(days=1)

    def check_reserved(self, reserved: Sequence[date]) -> None:
        """Check whether an account with these reserved names may release another one. Raises RateLimited with the wait for the first of them."""
        if len(reserved) >= self.quota.windows[0].limit:
            raise rate_limit_error(self.quota, 0, self._seconds_until(min(reserved, default=self.released_on)))

    def remaining(self, reserved: Sequence[date]) -> Grant:
        """How many more names the account may release."""
        limit = self.quota.windows[0].limit
        seconds = self._seconds_until(max(reserved)) if reserved else 0
        return Grant(limit, max(0, limit - len(reserved)), seconds, self.quota.windows[0].seconds)

    def _seconds_until(self, day: date) -> int:
        return math.ceil((datetime.combine(day, time(), UTC) - self.now).total_seconds())


class ReservedUsernames(Protocol):
    """Looks reserved names up."""

    async def reserved_until(self, user_id: UserId, today: date) -> Sequence[date]:
        """For each reserved name of this account: the day on which it becomes free. Raises Unavailable."""
        ...


class Usernames:
    """The rules for usernames, and the remaining quota of an account."""

    def __init__(self, store: ReservedUsernames, clock: Clock, quota: Quota = USERNAMES) -> None:
        self._store = store
        self._clock = clock
        self._quota = quota

    def rules(self) -> UsernameRules:
        """The rules at this time."""
        return UsernameRules(self._clock.now(), self._quota, self._clock.confirmed_now())

    async def remaining(self, user_id: UserId) -> Grant:
        """How many more names this account may release. Raises Unavailable."""
        rules = self.rules()
        return rules.remaining(await self._store.reserved_until(user_id, rules.today))
