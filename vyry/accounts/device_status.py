"""Whether devices are live, cached for half a second: authentication is cheap, and a revoked token is refused within a second.

Concurrent requests share one statement: while one batch is being queried, the next one collects devices.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.account import EndedDevice, RevocationListener
from vyry.clock import Clock
from vyry.errors import Unavailable
from vyry.kernel.ids import DeviceId, MailboxId, MailboxKey, UserId
from vyry.kernel.lru_cache import LruCache


#: Half of the second within which an ended session must be refused: the query takes time too, more on a busy node.
CACHE_AGE: Final = timedelta(milliseconds=500)
REMEMBERED: Final = 20_000
#: Longer than any transaction of the node: PostgreSQL's timeouts end it before.
LOOKBACK_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A live device; access tokens are checked against it."""

    device: UUID
    user_id: UserId
    device_id: DeviceId
    mailbox: MailboxKey
    mailbox_id: MailboxId
    is_primary: bool
    generation: int
    last_seen_on: date


@dataclass(frozen=True, slots=True)
class Revocation:
    """Sessions of a device, or of all devices of an account, that ended or were resumed. Numbers rise, but rows may become visible out of order."""

    number: int
    device: UUID | None
    user_id: UserId | None


class DeviceStatusStore(Protocol):
    """Looks devices up. All methods raise `Unavailable` while the database is down."""

    async def load_statuses(self, devices: Collection[UUID]) -> Mapping[UUID, DeviceStatus]:
        """The live devices among these, of accounts that are neither suspended nor deleted, by one statement."""
        ...

    async def load_revocations(self, after: int | None) -> Sequence[Revocation]:
        """All revocations after this number, by one statement; only the latest one if `after` is None."""
        ...

    async def record_last_seen(self, devices: Collection[UUID], day: date) -> None:
        """Record the day on which these devices were last seen; an earlier day changes nothing."""
        ...


@dataclass(eq=False, slots=True)
class _Batch:
    """Devices queried by one statement."""

    done: asyncio.Future[Mapping[UUID, DeviceStatus]]
    devices: set[UUID] = field(default_factory=set)


class DeviceStatusCache:
    """Caches device statuses for CACHE_AGE."""

    def __init__(self, store: DeviceStatusStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._cache: LruCache[UUID, tuple[DeviceStatus | None, datetime]] = LruCache(REMEMBERED)
        self._open_batch: _Batch | None = None
        self._query_lock = asyncio.Lock()

    async def get(self, device: UUID) -> DeviceStatus | None:
        """The status of a device; None if it has ended or never existed. Raises Unavailable rather than answer from an old entry."""
        known = self._cache.get(device)
        # A clock that was set back makes the age negative: then the entry is not used.
        if known is not None and timedelta(0) <= self._clock.now() - known[1] <= CACHE_AGE:
            return known[0]
        return (await self._load_batched(device)).get(device)

    def invalidate(self, devices: Collection[UUID]) -> None:
        """Query these devices again at their next use."""
        for device in devices:
            self._cache.pop(device)

    async def _load_batched(self, device: UUID) -> Mapping[UUID, DeviceStatus]:
        if self._open_batch is not None:
            self._open_batch.devices.add(device)
            return await asyncio.shield(self._open_batch.done)
        current = self._open_batch = _Batch(asyncio.get_running_loop().create_future(), {device})
        try:
            async with self._query_lock:
                self._open_batch = None
                found = await self._query(current.devices)
        except BaseException as error:
            if self._open_batch is current:
                self._open_batch = None
            current.done.set_exception(error if isinstance(error, Exception) else Unavailable())
            current.done.exception()  # Without another waiter, asyncio would log the exception as never retrieved.
            raise
        current.done.set_result(found)
        return found

    async def _query(self, devices: Collection[UUID]) -> Mapping[UUID, DeviceStatus]:
        asked_at = self._clock.now()
        found = await self._store.load_statuses(devices)
        for device in devices:
            self._cache.put(device, (found.get(device), asked_at))
        today = asked_at.date()
        unseen = [device for device, status in found.items() if status.last_seen_on < today]
        if unseen:
            await self._store.record_last_seen(unseen, today)
        return found


class RevocationWatcher:
    """Polls the database for revocations on all nodes, in case a hint is lost: one small statement a poll, however many sockets there are.

    Theory: a number is drawn before its transaction commits, so a lower one may become visible after a higher one. Each poll therefore starts at the
    number that was the highest LOOKBACK_SECONDS ago, longer than any transaction takes.
    """

    def __init__(self, store: DeviceStatusStore, statuses: DeviceStatusCache) -> None:
        self._store = store
        self._statuses = statuses
        self._marks: deque[tuple[float, int]] = deque()
        self._reported: set[int] = set()

    def invalidate(self, devices: Collection[UUID]) -> None:
        """Drop these devices from the cache."""
        self._statuses.invalidate(devices)

    async def poll(self, now: float) -> tuple[Collection[UUID], Collection[UserId]]:
        """The devices and the accounts with a new revocation since the last poll. `now` is monotonic, in seconds. Raises Unavailable."""
        found = await self._store.load_revocations(self._marks[0][1] if self._marks else None)
        fresh = [each for each in found if each.number not in self._reported] if self._marks else []
        highest = max((each.number for each in found), default=self._marks[-1][1] if self._marks else 0)
        self._marks.append((now, highest))
        while len(self._marks) > 1 and self._marks[1][0] <= now - LOOKBACK_SECONDS:
            self._marks.popleft()
        self._reported = {each.number for each in found}
        devices = {each.device for each in fresh if each.device is not None}
        return devices, {each.user_id for each in fresh if each.user_id is not None}


class SessionRevocations:
    """Announces sessions that have ended in the database: drops the devices from this node's cache and closes their sockets on all nodes."""

    def __init__(self, statuses: DeviceStatusCache, listener: RevocationListener) -> None:
        self._statuses = statuses
        self._listener = listener

    async def announce(self, ended: Collection[EndedDevice]) -> None:
        """Announce them. Never raises: the database has the revocation, and RevocationWatcher finds it as well."""
        if not ended:
            return
        self._statuses.invalidate([device.device for device in ended])
        with suppress(Unavailable):
            await self._listener.close_sockets([device.mailbox for device in ended])
