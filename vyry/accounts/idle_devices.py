"""Linked devices that nobody uses any more: they are warned, and a week later they end.

A lost or forgotten device keeps reading along for as long as its sessions are renewed, and its mailbox fills for nobody. The primary device never ends
by itself: it is the account, and its owner may be on a long journey.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol

from vyry.accounts.account import EndedDevice
from vyry.accounts.device_status import SessionRevocations
from vyry.clock import Clock


#: How long before its end a device is warned, at least.
WARNING: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class IdleCutoffs:
    """Which devices are idle at a moment: those last seen on `seen_by` or before. Warned ones end WARNING after the warning, and not before `lifetime`."""

    now: datetime
    lifetime: timedelta

    @property
    def warn_if_seen_by(self) -> date:
        """The last day of use that calls for a warning."""
        return (self.now - self.lifetime + WARNING).date()

    @property
    def end_if_seen_by(self) -> date:
        """The last day of use that calls for the end."""
        return (self.now - self.lifetime).date()

    def ends_on(self, last_seen_on: date) -> date:
        """The day that a device warned now is told."""
        return max(last_seen_on + self.lifetime, (self.now + WARNING).date())


class IdleStore(Protocol):
    """Where idle devices are found; devices of suspended accounts are none. Both methods raise `Unavailable` when the database is away."""

    async def warn(self, idle: IdleCutoffs, limit: int) -> int:
        """Warn at most so many that were not warned since they were last used, them and the other devices of their accounts; answers how many."""
        ...

    async def end(self, idle: IdleCutoffs, limit: int) -> Sequence[EndedDevice]:
        """End at most so many that were warned long enough ago, and were not used since."""
        ...


class IdleDevices:
    """What the sweeper does about devices that nobody uses."""

    def __init__(self, store: IdleStore, endings: SessionRevocations, clock: Clock, lifetime: timedelta) -> None:
        self._store = store
        self._revocations = endings
        self._clock = clock
        self._lifetime = lifetime

    async def sweep(self, limit: int) -> int:
        """Warn some, end some; answers how many that were. Raises Unavailable."""
        idle = IdleCutoffs(self._clock.confirmed_now(), self._lifetime)
        ended = await self._store.end(idle, limit)
        await self._revocations.announce(ended)
        return len(ended) + await self._store.warn(idle, limit)
