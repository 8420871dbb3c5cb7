"""The device lists: which devices of an account are recipients (those with keys), and how to reach them.

A list may be remembered in a process for as long as nobody finds it outdated: posts are guarded by its epoch in the database itself.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.kernel.lru_cache import LruCache


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """One device with keys. A number given again is told apart by its `registration_id`."""

    registration_id: int
    mailbox: MailboxKey


@dataclass(frozen=True, slots=True)
class Recipient:
    """An account as somebody to write to: its devices with keys, by rising number, as they were at `epoch`."""

    user_id: UserId
    epoch: int
    devices: Mapping[DeviceId, ListedDevice]


class DeviceListStore(Protocol):
    """Where the lists are kept."""

    async def load_lists(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        """The present lists of these accounts, each with the epoch it belongs to; unknown accounts are absent."""
        ...


class CachedDeviceLists:
    """Remembers the lists used last. What it answers may be outdated: the post that relies on it is guarded by the epoch."""

    def __init__(self, source: DeviceListStore, capacity: int = 50_000) -> None:
        self._source = source
        self._cache: LruCache[UserId, Recipient] = LruCache(capacity)

    async def get(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        """The lists of these accounts, loading only what is not remembered; unknown accounts are absent (and never remembered)."""
        found = {user: known for user in users if (known := self._cache.get(user)) is not None}
        missing = {user for user in users if user not in found}
        if missing:
            loaded = await self._source.load_lists(missing)
            self._cache_loaded(loaded)
            found |= loaded
        return found

    def invalidate(self, users: Collection[UserId]) -> None:
        """Load these anew next time."""
        for user in users:
            self._cache.pop(user)

    def _cache_loaded(self, loaded: Mapping[UserId, Recipient]) -> None:
        for user, recipient in loaded.items():
            held = self._cache.get(user)
            # A slow load may arrive after a newer one: epochs only rise, so the higher one is the truth.
            if held is None or held.epoch <= recipient.epoch:
                self._cache.put(user, recipient)
