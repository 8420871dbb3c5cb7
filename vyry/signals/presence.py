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
from vyry.ids import MailboxKey, UserId


#: So many people may be watched on one socket, friends or not.
WATCHED: Final = 1_000
#: So long nothing is asked of a database that is away.
AWAY_SECONDS: Final = 1.0
#: Pairs that one statement judges, and people that are told in one go.
_BATCH: Final = 1_000
#: At each of so many renewals everything that is shown is asked for again, hint or no hint: within a minute.
_DOUBTS: Final = 7
#: What comes later than what it contradicts, by at most so much, is old; beyond that a clock was set. In microseconds, as stamps are.
_LATEST: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class PresencePace:
    """How long a lease lasts that is not renewed, in seconds; everything else follows from it."""

    lease: float = 25.0
    #: Changes gather for so long, and then go out together.
    tick: float = 0.05

    @property
    def renewal(self) -> float:
        """How often leases are renewed, and watched accounts looked at."""
        return self.lease / 3

    @property
    def grace(self) -> float:
        """How long somebody whose last socket closed is still shown, who may be just coming back."""
        return self.lease / 6


@dataclass(frozen=True, slots=True)
class Seat:
    """A device's socket. Of two of the same mailbox the one with the higher connection number counts."""

    user_id: UserId
    mailbox: MailboxKey
    connection: int


@dataclass(frozen=True, slots=True)
class Standing:
    """For how many seconds more an account is online, if nothing else is told. Of two the one with the higher stamp is newer."""

    seconds: float
    stamp: int


Heard = Callable[[Mapping[UserId, Standing]], None]


class PresenceLeases(Protocol):
    """Who is online, for all nodes together. Best effort: no method raises, or takes longer than a second for a batch."""

    def listen(self, heard: Heard) -> None:
        """Name who hears of changes of the accounts that are watched here; called once, in the node's event loop."""
        ...

    async def take(self, seats: Collection[Seat]) -> None:
        """Begin or renew the leases of these, except where a newer connection of the mailbox has one."""
        ...

    async def leave(self, seats: Collection[Seat]) -> None:
        """These are gone: shorten their leases to the grace, except where a newer connection of the mailbox has one."""
        ...

    async def watch(self, users: Collection[UserId]) -> Mapping[UserId, Standing] | None:
        """Hear of these from now on, for one lease; answers how they stand, or None when that cannot be told."""
        ...

    async def unwatch(self, users: Collection[UserId]) -> None:
        """Hear of these no more."""
        ...


Pair = tuple[UserId, UserId]
_Place = tuple["Watch", UserId]


class Showing(Protocol):
    """Knows who lets whom know. Both methods raise `Unavailable` when the database is away."""

    async def shown(self, pairs: Collection[Pair]) -> set[Pair]:
        """Those of these pairs (who watches, who is watched) in which the one may know of the other: friends, neither blocks the other, and it is shown."""
        ...

    async def showing(self, users: Collection[UserId]) -> set[UserId]:
        """Those of these who show their presence."""
        ...


@dataclass(eq=False, slots=True)
class Watch:
    """Whom one socket watches, and how it is told."""

    user_id: UserId
    tell: Callable[[UserId, bool], None]
    users: set[UserId] = field(default_factory=set)


@dataclass(slots=True)
class _Watched:
    """Somebody who is watched here; each watch with what it was told last (None: nothing that holds)."""

    watches: dict[Watch, bool | None] = field(default_factory=dict)
    #: Online until then, in monotonic seconds.
    ends: float = 0.0
    stamp: int = 0
    #: The leases tell of changes.
    is_heard_of: bool = False


class Presence:
    """The presence of the sockets of this node, and of whom they watch. Methods return at once; `run` does the work, for all of them together."""

    def __init__(self, leases: PresenceLeases, showing: Showing, pace: PresencePace) -> None:
        self._leases = leases
        self._showing = showing
        self._pace = pace
        self._seats: Callable[[], Iterable[Seat]] = tuple
        #: Accounts with sockets here that show it.
        self._shown: set[UserId] = set()
        self._came: dict[MailboxKey, Seat] = {}
        self._went: dict[MailboxKey, Seat] = {}
        self._watched: dict[UserId, _Watched] = {}
        self._watches: dict[UserId, set[Watch]] = {}
        #: What is to be asked of the database before anything is said; and whether something is said even if nothing has changed.
        self._unsure: dict[_Place, bool] = {}
        #: Of whom the leases could not tell.
        self._unknown: dict[_Place, bool] = {}
        #: Who is to be told that somebody is offline.
        self._ended: dict[_Place, None] = {}
        self._doubted: set[UUID] = set()
        self._is_all_doubted = False
        #: Who is watched here no more.
        self._left: set[UserId] = set()
        #: When the first of those who are online is not, unless it is told anew; 0 is never.
        self._due = 0.0
        self._wake = asyncio.Event()
        leases.listen(self._heard)

    def come(self, seat: Seat) -> None:
        """A device said hello."""
        self._came[seat.mailbox] = seat
        self._wake.set()

    def go(self, seat: Seat) -> None:
        """A device's socket is gone."""
        if self._came.get(seat.mailbox) == seat:
            del self._came[seat.mailbox]
        self._went[seat.mailbox] = seat
        self._wake.set()

    def watch(self, watch: Watch, users: Collection[UserId]) -> None:
        """Tell how these stand, those that may be shown, and tell of each change from now on. Raises InvalidRequest when they are too many."""
        if len(watch.users.union(users)) > WATCHED:
            raise InvalidRequest(fields=[{"field": "userIds", "problem": f"more than {WATCHED} in all on this socket"}])
        self._watches.setdefault(watch.user_id, set()).add(watch)
        for user in users:
            watch.users.add(user)
            self._watched.setdefault(user, _Watched()).watches.setdefault(watch, None)
            self._unsure[watch, user] = True
        self._wake.set()

    def unwatch(self, watch: Watch, users: Collection[UserId]) -> None:
        """Tell nothing more of these."""
        for user in watch.users.intersection(users):
            watch.users.remove(user)
            watched = self._watched[user]
            del watched.watches[watch]
            if not watched.watches:
                del self._watched[user]
                if watched.is_heard_of:
                    self._left.add(user)
                    self._wake.set()
        mine = self._watches.get(watch.user_id, set())
        if not watch.users:
            mine.discard(watch)
        if not mine:
            self._watches.pop(watch.user_id, None)

    def doubt(self, users: Collection[UUID] | None = None) -> None:
        """Settings, friends or blocks of these may be others now; of all when none are named."""
        if users is None:
            self._is_all_doubted = True
        else:
            self._doubted.update(users)
        self._wake.set()

    async def run(self, seats: Callable[[], Iterable[Seat]]) -> None:
        """Lease for the sockets of this node, which `seats` names, and tell those who watch; until cancelled."""
        self._seats = seats
        turns, renew_at = 0, time.monotonic() + self._pace.renewal
        while True:
            await self._wait(renew_at)
            self._expire()
            await self._tell_ended()
            try:
                if time.monotonic() >= renew_at:
                    turns, renew_at = turns + 1, time.monotonic() + self._pace.renewal
                    self._is_all_doubted |= turns % _DOUBTS == 0
                    await self._renew()
                self._ask_again()
                await self._lease()
                await self._settle()
            except Unavailable:
                # Nothing is lost: what waits is asked again, and what runs out here needs no database.
                self._wake.set()
                await asyncio.sleep(AWAY_SECONDS)

    async def _wait(self, renew_at: float) -> None:
        """Until there is something to do."""
        due = min(renew_at, self._due) if self._due else renew_at
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._wake.wait()
                await asyncio.sleep(self._pace.tick)
        self._wake.clear()

    async def _renew(self) -> None:
        """Renew what is held here, and look at all that is watched: news may have been lost."""
        for seat in self._seats() if self._shown else ():
            if seat.user_id in self._shown:
                self._came.setdefault(seat.mailbox, seat)
        heard_of = [user for user, watched in self._watched.items() if watched.is_heard_of]
        self._heard(await self._leases.watch(heard_of) or {})
        self._unsure = self._unknown | self._unsure
        self._unknown = {}

    def _ask_again(self) -> None:
        """Whatever is in doubt waits for the database from here on."""
        users, self._doubted = self._doubted, set()
        is_all, self._is_all_doubted = self._is_all_doubted, False
        if not users and not is_all:
            return
        for seat in self._seats():
            if is_all or seat.user_id in users:
                self._came.setdefault(seat.mailbox, seat)
        if is_all:
            self._shown &= {seat.user_id for seat in (*self._came.values(), *self._went.values())}
        for user in self._watched if is_all else self._watched.keys() & users:
            for watch in self._watched[user].watches:
                self._unsure.setdefault((watch, user), False)
        for watcher in self._watches.keys() & users:
            self._unsure = {
                (watch, user): False for watch in self._watches[watcher] for user in watch.users
            } | self._unsure

    async def _lease(self) -> None:
        """Take leases for who came, or shows it now; shorten those of who went, or shows it no more. Raises Unavailable: then they wait on."""
        (came, self._came), (went, self._went) = (self._came, {}), (self._went, {})
        asked = {seat.user_id for seat in came.values()}
        try:
            shown = await self._showing.showing(asked)
        except Unavailable:
            self._came, self._went = came | self._came, went | self._went
            await self._leases.take([seat for seat in came.values() if seat.user_id in self._shown])
            raise
        gone = [seat for seat in went.values() if seat.user_id in self._shown]
        gone += [seat for seat in came.values() if seat.user_id in self._shown - shown]
        self._shown = self._shown - asked | shown
        await self._leases.leave(gone)
        await self._leases.take([seat for seat in came.values() if seat.user_id in shown])

    async def _settle(self) -> None:
        """Ask the database about what is unsure, and say what may be said. Raises Unavailable: then it waits on."""
        left, self._left = self._left - self._watched.keys(), set()
        await self._leases.unwatch(left)
        while self._unsure:
            batch = dict(islice(self._unsure.items(), _BATCH))
            shown = await self._showing.shown({(watch.user_id, user) for watch, user in batch})
            await self._hear_of({user for _, user in shown})
            for (watch, user), must_say in batch.items():
                must_say = self._unsure.pop((watch, user), must_say)
                self._judge((watch, user), is_shown=(watch.user_id, user) in shown, must_say=must_say)

    async def _hear_of(self, users: Collection[UserId]) -> None:
        """Hear of these from now on; of those not watched here yet."""
        new = [user for user in users if user in self._watched and not self._watched[user].is_heard_of]
        standings = await self._leases.watch(new)
        if standings is not None:
            for user in self._watched.keys() & new:
                self._watched[user].is_heard_of = True
            self._heard(standings)

    def _judge(self, place: _Place, *, is_shown: bool, must_say: bool) -> None:
        watch, user = place
        watched = self._watched.get(user)
        if watched is None or watch not in watched.watches:
            return
        if self._is_all_doubted or self._doubted & {user, watch.user_id}:
            # Something has changed since the database was asked.
            self._unsure[place] = must_say
        elif is_shown and not watched.is_heard_of:
            self._unknown[place] = must_say
        elif is_shown:
            self._tell(place, is_online=watched.ends > time.monotonic(), must_say=must_say)
        else:
            self._tell(place, is_online=False)
            watched.watches[watch] = None

    def _tell(self, place: _Place, *, is_online: bool, must_say: bool = False) -> None:
        """Tell, if it is news. That somebody is offline is none to who may not know, or was never told otherwise."""
        watch, user = place
        told = self._watched[user].watches[watch]
        self._watched[user].watches[watch] = is_online
        if must_say or (is_online, told) in {(True, None), (True, False), (False, True)}:
            watch.tell(user, is_online)

    def _heard(self, standings: Mapping[UserId, Standing]) -> None:
        now = time.monotonic()
        for user in self._watched.keys() & standings.keys():
            watched, standing = self._watched[user], standings[user]
            if 0 < watched.stamp - standing.stamp < _LATEST:
                continue
            watched.stamp = standing.stamp
            watched.ends = now + standing.seconds if standing.seconds > 0 else 0.0
            if watched.ends:
                self._due = min(self._due or watched.ends, watched.ends)
            self._note(user, watched, is_online=watched.ends > 0)

    def _note(self, user: UserId, watched: _Watched, *, is_online: bool) -> None:
        """Who was told otherwise is told; that somebody is online, once the database has agreed."""
        for watch, told in watched.watches.items():
            if told is not None and told is not is_online:
                self._wake.set()
                if is_online:
                    self._unsure.setdefault((watch, user), False)
                else:
                    self._ended[watch, user] = None

    def _expire(self) -> None:
        """Whose time has run out is offline."""
        now = time.monotonic()
        if not self._due or now < self._due:
            return
        self._due = 0.0
        for user, watched in self._watched.items():
            if 0 < watched.ends <= now:
                watched.ends = 0.0
                self._note(user, watched, is_online=False)
            elif watched.ends:
                self._due = min(self._due or watched.ends, watched.ends)

    async def _tell_ended(self) -> None:
        """Tell that people are offline; this waits for nothing, but lets others have their turn."""
        while self._ended:
            for watch, user in list(islice(self._ended, _BATCH)):
                del self._ended[watch, user]
                watched = self._watched.get(user)
                if watched is not None and watch in watched.watches and not watched.ends:
                    self._tell((watch, user), is_online=False)
            await asyncio.sleep(0)
