"""The device lists: which devices of an account receive messages (those with keys), and their mailboxes.

A process may cache a list without an age limit: the database checks every post against the epoch of the list.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.kernel.lru_cache import LruCache


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device with keys. The `registration_id` distinguishes devices that had the same device id."""

    registration_id: int
    mailbox: MailboxKey


@dataclass(frozen=True, slots=True)
class Recipient:
    """An account as a recipient: its devices with keys, ordered by device id, at `epoch`."""

    user_id: UserId
    epoch: int
    devices: Mapping[DeviceId, ListedDevice]


class DeviceListStore(Protocol):
    """Loads device lists."""

    async def load_lists(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        """The current lists of these accounts, each with its epoch; unknown accounts are absent."""
        ...


class CachedDeviceLists:
    """Caches the lists used last. A cached list may be outdated: a post that uses it is checked against the epoch in the database."""

    def __init__(self, source: DeviceListStore, capacity: int = 50_000) -> None:
        self._source = source
        self._cache: LruCache[UserId, Recipient] = LruCache(capacity)

    async def get(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        """The lists of these accounts, loading only what is not cached; unknown accounts are absent (and never cached)."""
        found = {user: known for user in users if (known := self._cache.get(user)) is not None}
        missing = {user for user in users if user not in found}
        if missing:
            loaded = await self._source.load_lists(missing)
            self._cache_loaded(loaded)
            found |= loaded
        return found

    def invalidate(self, users: Collection[UserId]) -> None:
        """Drop these from the cache."""
        for user in users:
            self._cache.pop(user)

    def _cache_loaded(self, loaded: Mapping[UserId, Recipient]) -> None:
        for user, recipient in loaded.items():
            cached = self._cache.get(user)
            # A slow load may end after a newer one: epochs only rise, so the higher one is current.
            if cached is None or cached.epoch <= recipient.epoch:
                self._cache.put(user, recipient)
