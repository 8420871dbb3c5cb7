"""Leases of presence in Redis.

An online account has a hash: mailbox -> "connection:end of its lease", by the clock of Redis. A watched account has another hash: channel of a node -> end of
the watch. The script that changes the state of an account publishes it to the watching nodes in the same step.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from vyry.kernel.batches import batched
from vyry.kernel.ids import UserId
from vyry.redis.guard import RedisGuard
from vyry.redis.hints import HintKind
from vyry.signals.presence import DeviceSocket, PresenceState, PresenceTiming


#: Accounts of one call: two keys each, far below what Lua can unpack.
_BATCH: Final = 250


def parse_states(news: bytes) -> dict[UserId, PresenceState]:
    """The states in a presence hint, which the notifier of this node receives. Raises ValueError for the format of another version."""
    stamp, *items = news.decode().split(" ")
    pairs = (item.split(":") for item in items)
    return {UserId(UUID(user)): PresenceState(int(left) / 1000, int(stamp)) for user, left in pairs}


class RedisPresence:
    """PresenceLeases over Redis. Redis publishes changes to the channels of the nodes that watch."""

    def __init__(self, guard: RedisGuard, pace: PresenceTiming, *, channel: str, prefix: str = "vyry") -> None:
        self._prefix = prefix
        self._channel = channel
        self._pace = [round(pace.lease_seconds * 1000), round(pace.grace_seconds * 1000), int(HintKind.PRESENCE)]
        self._claim = guard.load_script("clock", "presence_common", "presence_claim")
        self._release = guard.load_script("clock", "presence_common", "presence_release")
        self._watch = guard.load_script("clock", "presence_common", "presence_watch")
        self._unwatch = guard.load_script("presence_unwatch")
        self._guard = guard

    async def acquire(self, seats: Collection[DeviceSocket]) -> None:
        for part in batched(seats, _BATCH):
            keys, args = self._keys([seat.user_id for seat in part]), self._script_args(part)
            await self._guard.call(partial(self._claim, keys=keys, args=args))

    async def release(self, seats: Collection[DeviceSocket]) -> None:
        for part in batched(seats, _BATCH):
            keys, args = self._keys([seat.user_id for seat in part]), self._script_args(part)
            await self._guard.call(partial(self._release, keys=keys, args=args))

    async def watch(self, users: Collection[UserId]) -> Mapping[UserId, PresenceState] | None:
        found: dict[UserId, PresenceState] = {}
        for part in batched(users, _BATCH):
            args: list[str | int] = [*self._pace, self._channel]
            answer = await self._guard.call(partial(self._watch, keys=self._keys(part), args=args))
            if answer is None:
                return None
            stamp = int(answer[0])
            found |= {user: PresenceState(left / 1000, stamp) for user, left in zip(part, answer[1:], strict=True)}
        return found

    async def unwatch(self, users: Collection[UserId]) -> None:
        for part in batched(users, _BATCH):
            keys = self._keys(part)[1::2]
            await self._guard.call(partial(self._unwatch, keys=keys, args=[self._channel]))

    def _keys(self, users: Sequence[UserId]) -> list[str]:
        return [f"{self._prefix}:{kind}:{user.hex}" for user in users for kind in ("present", "watched")]

    def _script_args(self, seats: Sequence[DeviceSocket]) -> list[str | int]:
        named = [(seat.mailbox, seat.connection, seat.user_id.hex) for seat in seats]
        return [*self._pace, *(each for one in named for each in one)]
