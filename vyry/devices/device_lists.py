"""The device lists: which devices of an account receive messages (those with keys), and their mailboxes.

A process may cache a list without an age limit: the database checks every post against the epoch of the list.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from vyry.kernel.ids import DeviceId, MailboxKey, UserId


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
        self._capacity = capacity
        self._cache: OrderedDict[UserId, Recipient] = OrderedDict()

    async def get(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        """The lists of these accounts, loading only what is not cached; unknown accounts are absent (and never cached)."""
        found = {user: self._cache[user] for user in users if user in self._cache}
        for user in found:
            self._cache.move_to_end(user)
        missing = {user for user in users if user not in found}
        if missing:
            loaded = await self._source.load_lists(missing)
            self._cache_loaded(loaded)
            found |= loaded
        return found

    def invalidate(self, users: Collection[UserId]) -> None:
        """Drop these from the cache."""
        for user in users:
            self._cache.pop(user, None)

    def _cache_loaded(self, loaded: Mapping[UserId, Recipient]) -> None:
        for user, recipient in loaded.items():
            held = self._cache.get(user)
            # A slow load may end after a newer one: epochs only rise, so the higher one is current.
            if held is None or held.epoch <= recipient.epoch:
                self._cache[user] = recipient
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
