"""Leases of presence of a node that runs alone."""

import time
from collections.abc import Collection, Mapping

from vyry.kernel.ids import MailboxKey, UserId
from vyry.signals.presence import DeviceSocket, PresenceListener, PresenceState, PresenceTiming


class InProcessPresence:
    """PresenceLeases of the only node there is."""

    def __init__(self, pace: PresenceTiming, listener: PresenceListener) -> None:
        self._pace = pace
        #: By account and mailbox: the connection, and when its lease ends.
        self._leases: dict[UserId, dict[MailboxKey, tuple[int, float]]] = {}
        self._watched: set[UserId] = set()
        self._listener = listener

    async def acquire(self, seats: Collection[DeviceSocket]) -> None:
        for seat in seats:
            before, now = self._lease_end(seat.user_id), time.monotonic()
            mine = self._leases.setdefault(seat.user_id, {})
            if mine.get(seat.mailbox, (0, 0.0))[0] <= seat.connection:
                mine[seat.mailbox] = (seat.connection, now + self._pace.lease_seconds)
                if before - now < self._pace.lease_seconds / 2:
                    self._publish(seat.user_id)

    async def release(self, seats: Collection[DeviceSocket]) -> None:
        for seat in seats:
            before = self._lease_end(seat.user_id)
            mine = self._leases.get(seat.user_id, {})
            connection, ends = mine.get(seat.mailbox, (seat.connection + 1, 0.0))
            if connection <= seat.connection:
                mine[seat.mailbox] = (seat.connection, min(ends, time.monotonic() + self._pace.grace_seconds))
                if self._lease_end(seat.user_id) < before:
                    self._publish(seat.user_id)

    async def watch(self, users: Collection[UserId]) -> Mapping[UserId, PresenceState] | None:
        self._watched.update(users)
        return {user: self._state(user) for user in users}

    async def unwatch(self, users: Collection[UserId]) -> None:
        self._watched.difference_update(users)

    def _state(self, user: UserId) -> PresenceState:
        now = time.monotonic()
        return PresenceState(max(0.0, self._lease_end(user) - now), round(now * 1_000_000))

    def _lease_end(self, user: UserId) -> float:
        """When the last lease of an account ends, or 0."""
        now = time.monotonic()
        mine = {box: lease for box, lease in self._leases.pop(user, {}).items() if lease[1] > now}
        if mine:
            self._leases[user] = mine
        return max((ends for _, ends in mine.values()), default=0.0)

    def _publish(self, user: UserId) -> None:
        if user in self._watched:
            self._listener({user: self._state(user)})
