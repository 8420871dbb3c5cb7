"""Whether devices still stand, remembered for less than a second: what makes recognising a token cheap and its revocation quick.

Requests that need the database at the same time share one statement: while one round is being asked, the next one gathers.
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


#: Half of the second in which an ended session must be refused: the look itself takes time too, more on a busy node.
CACHE_AGE: Final = timedelta(milliseconds=500)
REMEMBERED: Final = 20_000
#: No transaction of ours lasts that long: PostgreSQL ends it before.
LOOKBACK_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A live device as its tokens are checked against it."""

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
    """Sessions that ended, or may go on again: of one device, or of all devices of an account. Numbers rise, but may come to light out of turn."""

    number: int
    device: UUID | None
    user_id: UserId | None


class DeviceStatusStore(Protocol):
    """Where devices are looked up. All methods raise `Unavailable` when the database is away."""

    async def load_statuses(self, devices: Collection[UUID]) -> Mapping[UUID, DeviceStatus]:
        """Those of these devices that live, of accounts that are neither suspended nor deleted, by one statement."""
        ...

    async def load_revocations(self, after: int | None) -> Sequence[Revocation]:
        """What ended beyond this number, by one statement that asks for no device; without a number the last one alone."""
        ...

    async def record_last_seen(self, devices: Collection[UUID], day: date) -> None:
        """Note the day on which these devices were last seen; it never goes back."""
        ...


@dataclass(eq=False, slots=True)
class _Batch:
    """Devices asked about by one statement."""

    done: asyncio.Future[Mapping[UUID, DeviceStatus]]
    devices: set[UUID] = field(default_factory=set)


class DeviceStatusCache:
    """The live devices, at most MEMORY old."""

    def __init__(self, store: DeviceStatusStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._cache: LruCache[UUID, tuple[DeviceStatus | None, datetime]] = LruCache(REMEMBERED)
        self._open_batch: _Batch | None = None
        self._query_lock = asyncio.Lock()

    async def get(self, device: UUID) -> DeviceStatus | None:
        """The device as it stands, or None when it has ended or never was. Raises Unavailable rather than guess."""
        known = self._cache.get(device)
        # A clock that was set back makes the age negative: that is no reason to trust the answer.
        if known is not None and timedelta(0) <= self._clock.now() - known[1] <= CACHE_AGE:
            return known[0]
        return (await self._load_batched(device)).get(device)

    def invalidate(self, devices: Collection[UUID]) -> None:
        """Look again at the next question about these."""
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
            current.done.exception()  # Nobody else may be waiting, and then the loop would complain of an error unseen.
            raise
        current.done.set_result(found)
        return found

    async def _query(self, devices: Collection[UUID]) -> Mapping[UUID, DeviceStatus]:
        asked_at = self._clock.now()
        found = await self._store.load_statuses(devices)
        for device in devices:
            self._cache.put(device, (found.get(device), asked_at))
        today = asked_at.date()
        unseen = [device for device, standing in found.items() if standing.last_seen_on < today]
        if unseen:
            await self._store.record_last_seen(unseen, today)
        return found


class RevocationWatcher:
    """Hears of every end on any node from the database itself, whatever becomes of hints: one small statement each time, however many sockets there are.

    Theory: numbers are given before a transaction commits, so a lower one may appear after a higher one. Each look therefore begins again where the
    numbers stood OVERLAP ago, longer than any transaction lives.
    """

    def __init__(self, store: DeviceStatusStore, standings: DeviceStatusCache) -> None:
        self._store = store
        self._statuses = standings
        self._marks: deque[tuple[float, int]] = deque()
        self._reported: set[int] = set()

    def invalidate(self, devices: Collection[UUID]) -> None:
        """What is remembered of these is from before."""
        self._statuses.invalidate(devices)

    async def poll(self, now: float) -> tuple[Collection[UUID], Collection[UserId]]:
        """The devices and the accounts about which something new was written since the last look. `now` is in seconds, monotonic. Raises Unavailable."""
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
    """What must happen once sessions have ended in the database: this node forgets the devices, and their sockets are told everywhere."""

    def __init__(self, standings: DeviceStatusCache, listener: RevocationListener) -> None:
        self._statuses = standings
        self._listener = listener

    async def announce(self, ended: Collection[EndedDevice]) -> None:
        """Spread the word. Never fails: the end is already true, and sockets look for themselves as well."""
        if not ended:
            return
        self._statuses.invalidate([device.device for device in ended])
        with suppress(Unavailable):
            await self._listener.close_sockets([device.mailbox for device in ended])
