"""Presence: whether people are there, told to those of their friends who watch them, if they let it be shown.

Theory. An account is online while a lease of one of its sockets runs (PresenceLeases). Only accounts that show their presence have leases, and each node
renews those of its own sockets. A node that watches an account knows until when it is online: what it is not told anew ends by itself. So a node that dies,
and a Redis that is away, take people offline within one lease. A socket that leaves shortens its lease to a short grace; whoever comes back in that time,
on whichever node, was never away.

Nobody is told that somebody is online before the database said, just then, that this may be shown to them. Told that somebody is offline is only who was told
before that they are online, or who may know. Whatever changes this (settings, friends, blocks) is a reason to ask again; a hint that is lost is made up for by
asking again about everything, now and then.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol
from uuid import UUID

from vyry.errors import InvalidRequest, Unavailable
from vyry.kernel.ids import MailboxKey, UserId


#: So many people may be watched on one socket, friends or not.
MAX_WATCHED: Final = 1_000
#: So long nothing is asked of a database that is away.
RETRY_SECONDS: Final = 1.0
#: Pairs that one statement judges, and people that are told in one go.
_BATCH: Final = 1_000
#: At each of so many renewals everything that is shown is asked for again, hint or no hint: within a minute.
_RENEWALS_PER_RECHECK: Final = 7
#: What comes later than what it contradicts, by at most so much, is old; beyond that a clock was set. In microseconds, as stamps are.
_MAX_LATENESS_MICROSECONDS: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class PresenceTiming:
    """How long a lease lasts that is not renewed, in seconds; everything else follows from it."""

    lease_seconds: float = 25.0
    #: Changes gather for so long, and then go out together.
    batch_seconds: float = 0.05

    @property
    def renewal_seconds(self) -> float:
        """How often leases are renewed, and watched accounts looked at."""
        return self.lease_seconds / 3

    @property
    def grace_seconds(self) -> float:
        """How long somebody whose last socket closed is still shown, who may be just coming back."""
        return self.lease_seconds / 6


@dataclass(frozen=True, slots=True)
class DeviceSocket:
    """A device's socket. Of two of the same mailbox the one with the higher connection number counts."""

    user_id: UserId
    mailbox: MailboxKey
    connection: int


@dataclass(frozen=True, slots=True)
class PresenceState:
    """For how many seconds more an account is online, if nothing else is told. Of two the one with the higher stamp is newer."""

    remaining_seconds: float
    stamp: int


PresenceListener = Callable[[Mapping[UserId, PresenceState]], None]


class PresenceLeases(Protocol):
    """Who is online, for all nodes together. Best effort: no method raises, or takes longer than a second for a batch."""

    async def acquire(self, sockets: Collection[DeviceSocket]) -> None:
        """Begin or renew the leases of these, except where a newer connection of the mailbox has one."""
        ...

    async def release(self, sockets: Collection[DeviceSocket]) -> None:
        """These are gone: shorten their leases to the grace, except where a newer connection of the mailbox has one."""
        ...

    async def watch(self, users: Collection[UserId]) -> Mapping[UserId, PresenceState] | None:
        """Hear of these from now on, for one lease; answers how they stand, or None when that cannot be told."""
        ...

    async def unwatch(self, users: Collection[UserId]) -> None:
        """Hear of these no more."""
        ...


WatchPair = tuple[UserId, UserId]
_WatchKey = tuple["Watch", UserId]


class PresencePrivacy(Protocol):
    """Knows who lets whom know. Both methods raise `Unavailable` when the database is away."""

    async def filter_visible(self, pairs: Collection[WatchPair]) -> set[WatchPair]:
        """Those of these pairs (who watches, who is watched) in which the one may know of the other: friends, neither blocks the other, and it is shown."""
        ...

    async def filter_showing(self, users: Collection[UserId]) -> set[UserId]:
        """Those of these who show their presence."""
        ...


@dataclass(eq=False, slots=True)
class Watch:
    """Whom one socket watches, and how it is told."""

    user_id: UserId
    on_change: Callable[[UserId, bool], None]
    users: set[UserId] = field(default_factory=set)


@dataclass(slots=True)
class _WatchedAccount:
    """Somebody who is watched here; each watch with what it was told last (None: nothing that holds)."""

    watches: dict[Watch, bool | None] = field(default_factory=dict)
    #: Online until then, in monotonic seconds.
    online_until: float = 0.0
    stamp: int = 0
    #: The leases tell of changes.
    is_subscribed: bool = False


class Presence:
    """The presence of the sockets of this node, and of whom they watch. Methods return at once; `run` does the work, for all of them together."""

    def __init__(
        self,
        *,
        build_leases: Callable[[PresenceListener], PresenceLeases],
        privacy: PresencePrivacy,
        timing: PresenceTiming,
    ) -> None:
        #: Leases of this process call `on_states` with changes of watched accounts; those of other nodes arrive with the notifier.
        self._leases = build_leases(self.on_states)
        self._privacy = privacy
        self._timing = timing
        self._list_sockets: Callable[[], Iterable[DeviceSocket]] = tuple
        #: Accounts with sockets here that show it.
        self._visible_users: set[UserId] = set()
        self._opened: dict[MailboxKey, DeviceSocket] = {}
        self._closed: dict[MailboxKey, DeviceSocket] = {}
        self._watched: dict[UserId, _WatchedAccount] = {}
        self._watches: dict[UserId, set[Watch]] = {}
        #: What is to be asked of the database before anything is said; and whether something is said even if nothing has changed.
        self._pending_checks: dict[_WatchKey, bool] = {}
        #: Of whom the leases could not tell.
        self._unreadable: dict[_WatchKey, bool] = {}
        #: Who is to be told that somebody is offline.
        self._offline_queue: dict[_WatchKey, None] = {}
        self._invalidated: set[UUID] = set()
        self._is_all_invalidated = False
        #: Who is watched here no more.
        self._unwatched: set[UserId] = set()
        #: When the first of those who are online is not, unless it is told anew; 0 is never.
        self._next_expiry = 0.0
        self._wake = asyncio.Event()

    def socket_opened(self, socket: DeviceSocket) -> None:
        """A device said hello."""
        self._opened[socket.mailbox] = socket
        self._wake.set()

    def socket_closed(self, socket: DeviceSocket) -> None:
        """A device's socket is gone."""
        if self._opened.get(socket.mailbox) == socket:
            del self._opened[socket.mailbox]
        self._closed[socket.mailbox] = socket
        self._wake.set()

    def watch(self, watch: Watch, users: Collection[UserId]) -> None:
        """Tell how these stand, those that may be shown, and tell of each change from now on. Raises InvalidRequest when they are too many."""
        if len(watch.users.union(users)) > MAX_WATCHED:
            raise InvalidRequest(
                fields=[{"field": "userIds", "problem": f"more than {MAX_WATCHED} in all on this socket"}]
            )
        self._watches.setdefault(watch.user_id, set()).add(watch)
        for user in users:
            watch.users.add(user)
            self._watched.setdefault(user, _WatchedAccount()).watches.setdefault(watch, None)
            self._pending_checks[watch, user] = True
        self._wake.set()

    def unwatch(self, watch: Watch, users: Collection[UserId]) -> None:
        """Tell nothing more of these."""
        for user in watch.users.intersection(users):
            watch.users.remove(user)
            watched = self._watched[user]
            del watched.watches[watch]
            if not watched.watches:
                del self._watched[user]
                if watched.is_subscribed:
                    self._unwatched.add(user)
                    self._wake.set()
        mine = self._watches.get(watch.user_id, set())
        if not watch.users:
            mine.discard(watch)
        if not mine:
            self._watches.pop(watch.user_id, None)

    def invalidate(self, users: Collection[UUID] | None = None) -> None:
        """Settings, friends or blocks of these may be others now; of all when none are named."""
        if users is None:
            self._is_all_invalidated = True
        else:
            self._invalidated.update(users)
        self._wake.set()

    async def run(self, list_sockets: Callable[[], Iterable[DeviceSocket]]) -> None:
        """Lease for the sockets of this node, which `seats` names, and tell those who watch; until cancelled."""
        self._list_sockets = list_sockets
        turns, renew_at = 0, time.monotonic() + self._timing.renewal_seconds
        while True:
            await self._wait(renew_at)
            self._expire()
            await self._send_offline()
            try:
                if time.monotonic() >= renew_at:
                    turns, renew_at = turns + 1, time.monotonic() + self._timing.renewal_seconds
                    self._is_all_invalidated |= turns % _RENEWALS_PER_RECHECK == 0
                    await self._renew()
                self._queue_rechecks()
                await self._update_leases()
                await self._run_checks()
            except Unavailable:
                # Nothing is lost: what waits is asked again, and what runs out here needs no database.
                self._wake.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _wait(self, renew_at: float) -> None:
        """Until there is something to do."""
        due = min(renew_at, self._next_expiry) if self._next_expiry else renew_at
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._wake.wait()
                await asyncio.sleep(self._timing.batch_seconds)
        self._wake.clear()

    async def _renew(self) -> None:
        """Renew what is held here, and look at all that is watched: news may have been lost."""
        for seat in self._list_sockets() if self._visible_users else ():
            if seat.user_id in self._visible_users:
                self._opened.setdefault(seat.mailbox, seat)
        heard_of = [user for user, watched in self._watched.items() if watched.is_subscribed]
        self.on_states(await self._leases.watch(heard_of) or {})
        self._pending_checks = self._unreadable | self._pending_checks
        self._unreadable = {}

    def _queue_rechecks(self) -> None:
        """Whatever is in doubt waits for the database from here on."""
        users, self._invalidated = self._invalidated, set()
        is_all, self._is_all_invalidated = self._is_all_invalidated, False
        if not users and not is_all:
            return
        for seat in self._list_sockets():
            if is_all or seat.user_id in users:
                self._opened.setdefault(seat.mailbox, seat)
        if is_all:
            self._visible_users &= {seat.user_id for seat in (*self._opened.values(), *self._closed.values())}
        for user in self._watched if is_all else self._watched.keys() & users:
            for watch in self._watched[user].watches:
                self._pending_checks.setdefault((watch, user), False)
        for watcher in self._watches.keys() & users:
            self._pending_checks = {
                (watch, user): False for watch in self._watches[watcher] for user in watch.users
            } | self._pending_checks

    async def _update_leases(self) -> None:
        """Take leases for who came, or shows it now; shorten those of who went, or shows it no more. Raises Unavailable: then they wait on."""
        (came, self._opened), (went, self._closed) = (self._opened, {}), (self._closed, {})
        asked = {seat.user_id for seat in came.values()}
        try:
            shown = await self._privacy.filter_showing(asked)
        except Unavailable:
            self._opened, self._closed = came | self._opened, went | self._closed
            await self._leases.acquire([seat for seat in came.values() if seat.user_id in self._visible_users])
            raise
        gone = [seat for seat in went.values() if seat.user_id in self._visible_users]
        gone += [seat for seat in came.values() if seat.user_id in self._visible_users - shown]
        self._visible_users = self._visible_users - asked | shown
        await self._leases.release(gone)
        await self._leases.acquire([seat for seat in came.values() if seat.user_id in shown])

    async def _run_checks(self) -> None:
        """Ask the database about what is unsure, and say what may be said. Raises Unavailable: then it waits on."""
        left, self._unwatched = self._unwatched - self._watched.keys(), set()
        await self._leases.unwatch(left)
        while self._pending_checks:
            batch = dict(islice(self._pending_checks.items(), _BATCH))
            shown = await self._privacy.filter_visible({(watch.user_id, user) for watch, user in batch})
            await self._subscribe({user for _, user in shown})
            for (watch, user), must_say in batch.items():
                must_say = self._pending_checks.pop((watch, user), must_say)
                self._apply_check((watch, user), is_shown=(watch.user_id, user) in shown, must_say=must_say)

    async def _subscribe(self, users: Collection[UserId]) -> None:
        """Hear of these from now on; of those not watched here yet."""
        new = [user for user in users if user in self._watched and not self._watched[user].is_subscribed]
        standings = await self._leases.watch(new)
        if standings is not None:
            for user in self._watched.keys() & new:
                self._watched[user].is_subscribed = True
            self.on_states(standings)

    def _apply_check(self, key: _WatchKey, *, is_shown: bool, must_say: bool) -> None:
        watch, user = key
        watched = self._watched.get(user)
        if watched is None or watch not in watched.watches:
            return
        if self._is_all_invalidated or self._invalidated & {user, watch.user_id}:
            # Something has changed since the database was asked.
            self._pending_checks[key] = must_say
        elif is_shown and not watched.is_subscribed:
            self._unreadable[key] = must_say
        elif is_shown:
            self._send_state(key, is_online=watched.online_until > time.monotonic(), must_say=must_say)
        else:
            self._send_state(key, is_online=False)
            watched.watches[watch] = None

    def _send_state(self, key: _WatchKey, *, is_online: bool, must_say: bool = False) -> None:
        """Tell, if it is news. That somebody is offline is none to who may not know, or was never told otherwise."""
        watch, user = key
        told = self._watched[user].watches[watch]
        self._watched[user].watches[watch] = is_online
        if must_say or (is_online, told) in {(True, None), (True, False), (False, True)}:
            watch.on_change(user, is_online)

    def on_states(self, standings: Mapping[UserId, PresenceState]) -> None:
        """The states of these accounts have changed; called in the node's event loop."""
        now = time.monotonic()
        for user in self._watched.keys() & standings.keys():
            watched, standing = self._watched[user], standings[user]
            if 0 < watched.stamp - standing.stamp < _MAX_LATENESS_MICROSECONDS:
                continue
            watched.stamp = standing.stamp
            watched.online_until = now + standing.remaining_seconds if standing.remaining_seconds > 0 else 0.0
            if watched.online_until:
                self._next_expiry = min(self._next_expiry or watched.online_until, watched.online_until)
            self._queue_change(user, watched, is_online=watched.online_until > 0)

    def _queue_change(self, user: UserId, watched: _WatchedAccount, *, is_online: bool) -> None:
        """Who was told otherwise is told; that somebody is online, once the database has agreed."""
        for watch, told in watched.watches.items():
            if told is not None and told is not is_online:
                self._wake.set()
                if is_online:
                    self._pending_checks.setdefault((watch, user), False)
                else:
                    self._offline_queue[watch, user] = None

    def _expire(self) -> None:
        """Whose time has run out is offline."""
        now = time.monotonic()
        if not self._next_expiry or now < self._next_expiry:
            return
        self._next_expiry = 0.0
        for user, watched in self._watched.items():
            if 0 < watched.online_until <= now:
                watched.online_until = 0.0
                self._queue_change(user, watched, is_online=False)
            elif watched.online_until:
                self._next_expiry = min(self._next_expiry or watched.online_until, watched.online_until)

    async def _send_offline(self) -> None:
        """Tell that people are offline; this waits for nothing, but lets others have their turn."""
        while self._offline_queue:
            for watch, user in list(islice(self._offline_queue, _BATCH)):
                del self._offline_queue[watch, user]
                watched = self._watched.get(user)
                if watched is not None and watch in watched.watches and not watched.online_until:
                    self._send_state((watch, user), is_online=False)
            await asyncio.sleep(0)
