"""Idle linked devices: the node warns them, and ends them a week later.

A lost device could read along for as long as it renews its session, and its mailbox would fill unread. The primary device never ends this way: without
it the account cannot be used, and its owner may be on a long journey.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol

from vyry.accounts.account import EndedDevice
from vyry.accounts.device_status import SessionRevocations
from vyry.clock import Clock


#: The least time between the warning and the end.
WARNING: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class IdleCutoffs:
    """Which devices are idle at `now`, by the day they were last seen. A device ends `lifetime` after that day, and WARNING after its warning at the earliest."""

    now: datetime
    lifetime: timedelta

    @property
    def warn_if_seen_by(self) -> date:
        """Devices last seen on this day or before are warned."""
        return (self.now - self.lifetime + WARNING).date()

    @property
    def end_if_seen_by(self) -> date:
        """Devices last seen on this day or before end."""
        return (self.now - self.lifetime).date()

    def ends_on(self, last_seen_on: date) -> date:
        """The day on which a device warned now ends."""
        return max(last_seen_on + self.lifetime, (self.now + WARNING).date())


class IdleStore(Protocol):
    """Finds idle devices; those of suspended accounts are left out. Both methods raise `Unavailable` while the database is down."""

    async def warn(self, idle: IdleCutoffs, limit: int) -> int:
        """Warn at most `limit` idle devices not warned since they were last seen, and notify the other devices of their accounts; returns how many were warned."""
        ...

    async def end(self, idle: IdleCutoffs, limit: int) -> Sequence[EndedDevice]:
        """End at most `limit` devices that were warned at least WARNING ago and not seen since."""
        ...


class IdleDevices:
    """Warns and ends idle devices, for the sweeper."""

    def __init__(self, store: IdleStore, revocations: SessionRevocations, clock: Clock, lifetime: timedelta) -> None:
        self._store = store
        self._revocations = revocations
        self._clock = clock
        self._lifetime = lifetime

    async def sweep(self, limit: int) -> int:
        """End and warn at most `limit` devices each; returns how many in all. Raises Unavailable."""
        idle = IdleCutoffs(self._clock.confirmed_now(), self._lifetime)
        ended = await self._store.end(idle, limit)
        await self._revocations.announce(ended)
        return len(ended) + await self._store.warn(idle, limit)
