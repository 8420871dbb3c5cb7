"""Presence: whether accounts are online, shown to friends that watch them, unless they hide it.

Theory. An account is online while a lease of one of its sockets runs (PresenceLeases). Only accounts that show their presence have leases, and each node
renews those of its own sockets. A node that watches an account knows until when it is online; without a renewal that ends by itself. So when a node dies
or Redis is down, accounts go offline within one lease. A socket that closes shortens its lease to a short grace period; a device that reconnects within it,
on any node, stays online.

A watcher sees that an account is online only after a check in the database at that moment. It sees that the account is offline only if it saw it online
before, or may see its presence. A change of settings, friends or blocks causes a new check; as hints may be lost, everything is checked again periodically.

Events and their effects (all work is done by `run`):
    socket opened or closed       acquire or release its lease, if the account shows its presence
    watch                         check, subscribe, send the state
    lease states change           offline: send at once; online: check, then send
    invalidate                    renew the leases of these accounts, check all their watches
    lease of a watched user ends  send offline
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


#: The most accounts that one socket may watch, friends or not.
MAX_WATCHED: Final = 1_000
#: The pause after an error of the database.
RETRY_SECONDS: Final = 1.0
#: Pairs of one statement, and watchers that are sent a state without a pause.
_BATCH: Final = 1_000
#: After so many renewals everything is checked again without a hint: within a minute.
_RENEWALS_PER_RECHECK: Final = 7
#: A state whose stamp is older by at most this is outdated; beyond it a clock was set. In microseconds, as stamps are.
_MAX_LATENESS_MICROSECONDS: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class PresenceTiming:
    """The length of a lease in seconds; everything else follows from it."""

    lease_seconds: float = 25.0
    #: How long changes gather before they are processed together.
    batch_seconds: float = 0.05

    @property
    def renewal_seconds(self) -> float:
        """How often leases are renewed and watched accounts are read."""
        return self.lease_seconds / 3

    @property
    def grace_seconds(self) -> float:
        """How long an account is still shown online after its last socket has closed."""
        return self.lease_seconds / 6


@dataclass(frozen=True, slots=True)
class DeviceSocket:
    """A device's socket. Of two of the same mailbox the one with the higher connection number counts."""

    user_id: UserId
    mailbox: MailboxKey
    connection: int


@dataclass(frozen=True, slots=True)
class PresenceState:
    """For how many seconds an account stays online without a renewal. Of two states the one with the higher stamp is newer."""

    remaining_seconds: float
    stamp: int


PresenceListener = Callable[[Mapping[UserId, PresenceState]], None]


class PresenceLeases(Protocol):
    """The leases of all nodes together. Best effort: no method raises, or takes longer than a second for a batch."""

    async def acquire(self, sockets: Collection[DeviceSocket]) -> None:
        """Begin or renew the leases of these sockets, except where a newer connection of the mailbox has one."""
        ...

    async def release(self, sockets: Collection[DeviceSocket]) -> None:
        """These sockets have closed: shorten their leases to the grace period, except where a newer connection of the mailbox has one."""
        ...

    async def watch(self, users: Collection[UserId]) -> Mapping[UserId, PresenceState] | None:
        """Subscribe to the states of these for one lease; returns their current states, or None while they are not known."""
        ...

    async def unwatch(self, users: Collection[UserId]) -> None:
        """Unsubscribe."""
        ...


WatchPair = tuple[UserId, UserId]
_WatchKey = tuple["Watch", UserId]


class PresencePrivacy(Protocol):
    """Decides which accounts show their presence to whom. Both methods raise `Unavailable` while the database is down."""

    async def filter_visible(self, pairs: Collection[WatchPair]) -> set[WatchPair]:
        """The pairs (watcher, watched account) where the watcher may see the presence: friends, no block, and not hidden."""
        ...

    async def filter_showing(self, users: Collection[UserId]) -> set[UserId]:
        """The accounts that show their presence."""
        ...


@dataclass(eq=False, slots=True)
class Watch:
    """The accounts that one socket watches, and its callback."""

    user_id: UserId
    on_change: Callable[[UserId, bool], None]
    users: set[UserId] = field(default_factory=set)


@dataclass(slots=True)
class _WatchedAccount:
    """An account that is watched on this node; each watch with the state that it was sent last (None: none, or not valid)."""

    watches: dict[Watch, bool | None] = field(default_factory=dict)
    #: Online until then, in monotonic seconds.
    online_until: float = 0.0
    stamp: int = 0
    #: Whether this node is subscribed to its states.
    is_subscribed: bool = False


class Presence:
    """The presence of the sockets of this node and of the accounts that they watch. Methods return at once; `run` does the work in batches."""

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
        #: Accounts with sockets here that show their presence.
        self._visible_users: set[UserId] = set()
        self._opened: dict[MailboxKey, DeviceSocket] = {}
        self._closed: dict[MailboxKey, DeviceSocket] = {}
        self._watched: dict[UserId, _WatchedAccount] = {}
        self._watches: dict[UserId, set[Watch]] = {}
        #: Watches to check in the database, and whether the state is sent even if it has not changed.
        self._pending_checks: dict[_WatchKey, bool] = {}
        #: Watches whose states could not be read from the leases.
        self._unreadable: dict[_WatchKey, bool] = {}
        #: Watches to send that an account is offline.
        self._offline_queue: dict[_WatchKey, None] = {}
        self._invalidated: set[UUID] = set()
        self._is_all_invalidated = False
        #: Accounts to unsubscribe from.
        self._unwatched: set[UserId] = set()
        #: When the first account goes offline without a renewal; 0 is never.
        self._next_expiry = 0.0
        self._wake = asyncio.Event()

    def socket_opened(self, socket: DeviceSocket) -> None:
        """A device said hello."""
        self._opened[socket.mailbox] = socket
        self._wake.set()

    def socket_closed(self, socket: DeviceSocket) -> None:
        """A socket of a device has closed."""
        if self._opened.get(socket.mailbox) == socket:
            del self._opened[socket.mailbox]
        self._closed[socket.mailbox] = socket
        self._wake.set()

    def watch(self, watch: Watch, users: Collection[UserId]) -> None:
        """Send the states of these accounts that may be shown, and each change from now on. Raises InvalidRequest for too many accounts."""
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
        """Send no more changes of these."""
        for user in watch.users.intersection(users):
            watch.users.remove(user)
            watched = self._watched[user]
            del watched.watches[watch]
            if not watched.watches:
                del self._watched[user]
                if watched.is_subscribed:
                    self._unwatched.add(user)
                    self._wake.set()
        own_watches = self._watches.get(watch.user_id, set())
        if not watch.users:
            own_watches.discard(watch)
        if not own_watches:
            self._watches.pop(watch.user_id, None)

    def invalidate(self, users: Collection[UUID] | None = None) -> None:
        """Settings, friends or blocks of these may have changed; of all accounts without an argument."""
        if users is None:
            self._is_all_invalidated = True
        else:
            self._invalidated.update(users)
        self._wake.set()

    async def run(self, list_sockets: Callable[[], Iterable[DeviceSocket]]) -> None:
        """Keep the leases for the sockets of this node, which `list_sockets` returns, and send states to watches; until cancelled."""
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
                # Nothing is lost: pending checks stay, and the end of a lease needs no database.
                self._wake.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _wait(self, renew_at: float) -> None:
        """Wait until there is work."""
        due = min(renew_at, self._next_expiry) if self._next_expiry else renew_at
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._wake.wait()
                await asyncio.sleep(self._timing.batch_seconds)
        self._wake.clear()

    async def _renew(self) -> None:
        """Renew the leases of this node, and read all watched states: changes may have been lost."""
        for socket in self._list_sockets() if self._visible_users else ():
            if socket.user_id in self._visible_users:
                self._opened.setdefault(socket.mailbox, socket)
        subscribed = [user for user, watched in self._watched.items() if watched.is_subscribed]
        self.on_states(await self._leases.watch(subscribed) or {})
        self._pending_checks = self._unreadable | self._pending_checks
        self._unreadable = {}

    def _queue_rechecks(self) -> None:
        """Queue checks for all invalidated accounts."""
        users, self._invalidated = self._invalidated, set()
        is_all, self._is_all_invalidated = self._is_all_invalidated, False
        if not users and not is_all:
            return
        for socket in self._list_sockets():
            if is_all or socket.user_id in users:
                self._opened.setdefault(socket.mailbox, socket)
        if is_all:
            self._visible_users &= {socket.user_id for socket in (*self._opened.values(), *self._closed.values())}
        for user in self._watched if is_all else self._watched.keys() & users:
            for watch in self._watched[user].watches:
                self._pending_checks.setdefault((watch, user), False)
        for watcher in self._watches.keys() & users:
            self._pending_checks = {
                (watch, user): False for watch in self._watches[watcher] for user in watch.users
            } | self._pending_checks

    async def _update_leases(self) -> None:
        """Acquire leases for opened sockets, release those of closed sockets and of accounts that hide now. Raises Unavailable: then they stay queued."""
        (opened, self._opened), (closed, self._closed) = (self._opened, {}), (self._closed, {})
        asked = {socket.user_id for socket in opened.values()}
        try:
            shown = await self._privacy.filter_showing(asked)
        except Unavailable:
            self._opened, self._closed = opened | self._opened, closed | self._closed
            await self._leases.acquire([socket for socket in opened.values() if socket.user_id in self._visible_users])
            raise
        gone = [socket for socket in closed.values() if socket.user_id in self._visible_users]
        gone += [socket for socket in opened.values() if socket.user_id in self._visible_users - shown]
        self._visible_users = self._visible_users - asked | shown
        await self._leases.release(gone)
        await self._leases.acquire([socket for socket in opened.values() if socket.user_id in shown])

    async def _run_checks(self) -> None:
        """Check pending watches in the database, and send what may be shown. Raises Unavailable: then they stay pending."""
        left, self._unwatched = self._unwatched - self._watched.keys(), set()
        await self._leases.unwatch(left)
        while self._pending_checks:
            batch = dict(islice(self._pending_checks.items(), _BATCH))
            shown = await self._privacy.filter_visible({(watch.user_id, user) for watch, user in batch})
            await self._subscribe({user for _, user in shown})
            for (watch, user), must_send in batch.items():
                must_send = self._pending_checks.pop((watch, user), must_send)
                self._apply_check((watch, user), is_shown=(watch.user_id, user) in shown, must_send=must_send)

    async def _subscribe(self, users: Collection[UserId]) -> None:
        """Subscribe to the states of these, unless this node is subscribed."""
        new = [user for user in users if user in self._watched and not self._watched[user].is_subscribed]
        states = await self._leases.watch(new)
        if states is not None:
            for user in self._watched.keys() & new:
                self._watched[user].is_subscribed = True
            self.on_states(states)

    def _apply_check(self, key: _WatchKey, *, is_shown: bool, must_send: bool) -> None:
        watch, user = key
        watched = self._watched.get(user)
        if watched is None or watch not in watched.watches:
            return
        if self._is_all_invalidated or self._invalidated & {user, watch.user_id}:
            # Invalidated since the check began.
            self._pending_checks[key] = must_send
        elif is_shown and not watched.is_subscribed:
            self._unreadable[key] = must_send
        elif is_shown:
            self._send_state(key, is_online=watched.online_until > time.monotonic(), must_send=must_send)
        else:
            self._send_state(key, is_online=False)
            watched.watches[watch] = None

    def _send_state(self, key: _WatchKey, *, is_online: bool, must_send: bool = False) -> None:
        """Send a state that the watch does not have. "Offline" is sent only after "online", or with `must_send`."""
        watch, user = key
        sent = self._watched[user].watches[watch]
        self._watched[user].watches[watch] = is_online
        if must_send or (is_online, sent) in {(True, None), (True, False), (False, True)}:
            watch.on_change(user, is_online)

    def on_states(self, states: Mapping[UserId, PresenceState]) -> None:
        """The states of these accounts have changed; called in the node's event loop."""
        now = time.monotonic()
        for user in self._watched.keys() & states.keys():
            watched, state = self._watched[user], states[user]
            if 0 < watched.stamp - state.stamp < _MAX_LATENESS_MICROSECONDS:
                continue
            watched.stamp = state.stamp
            watched.online_until = now + state.remaining_seconds if state.remaining_seconds > 0 else 0.0
            if watched.online_until:
                self._next_expiry = min(self._next_expiry or watched.online_until, watched.online_until)
            self._queue_change(user, watched, is_online=watched.online_until > 0)

    def _queue_change(self, user: UserId, watched: _WatchedAccount, *, is_online: bool) -> None:
        """Queue the change for the watches with another state: offline is sent at once, online after a check."""
        for watch, sent in watched.watches.items():
            if sent is not None and sent is not is_online:
                self._wake.set()
                if is_online:
                    self._pending_checks.setdefault((watch, user), False)
                else:
                    self._offline_queue[watch, user] = None

    def _expire(self) -> None:
        """Accounts whose leases have ended go offline."""
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
        """Send the queued offline states; yields to other tasks after each batch."""
        while self._offline_queue:
            for watch, user in list(islice(self._offline_queue, _BATCH)):
                del self._offline_queue[watch, user]
                watched = self._watched.get(user)
                if watched is not None and watch in watched.watches and not watched.online_until:
                    self._send_state((watch, user), is_online=False)
            await asyncio.sleep(0)
