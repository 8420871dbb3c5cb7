"""Who may open one more socket: so many per account, so many per address, so many on this node.

Theory: a socket that has not said hello holds a place of its own. At hello it takes over the place of its device, which an older socket of the device may
still hold: for a while two sockets share one place. So a device that comes back finds room even where all places are taken: its own is there already.
This node counts exactly; the nodes together count by leases, which end by themselves when a node dies.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final, NamedTuple, Protocol

from vyry.errors import Policy, RateLimited, Unavailable
from vyry.ids import MailboxKey, UserId
from vyry.limits import SOCKETS_ACCOUNT, SOCKETS_ADDRESS, Grant, Quota, party


#: A socket that says no hello leaves after this time (web/live/pace.py).
PATIENCE_SECONDS: Final = 10


class Room(NamedTuple):
    """What has a number of places: an account or an address."""

    quota: str
    subject: str


#: Who holds a place: a mailbox, or (negative) a socket of this node that has not said hello.
Holder = int


class SharedPlaces(Protocol):
    """The places that are taken on all nodes together; each method answers after a second at the latest."""

    async def enter(self, rooms: Mapping[Room, int], holder: Holder, own: MailboxKey) -> Mapping[Room, int] | None:
        """Take a place in each of these rooms, which have so many, or in none; answers how many others hold one (of the first that is full: enough to fill it).

        The place of `own` counts as free. None when that cannot be told.
        """
        ...

    async def swap(self, rooms: Sequence[Room], old: Holder, new: Holder | None) -> None:
        """Give up a place in each room, or to another holder."""
        ...

    async def count(self, rooms: Sequence[Room]) -> Sequence[int] | None:
        """How many places are taken in each; None when that cannot be told."""
        ...


class Place:
    """One socket's place in its rooms; lasts until the socket is gone."""

    __slots__ = ("grants", "holder", "is_taken_over", "rooms")

    def __init__(self, rooms: Sequence[Room], holder: Holder) -> None:
        self.rooms = rooms
        self.holder = holder
        #: Another node holds the device's place now: it is not this one's to give up.
        self.is_taken_over = False
        #: What was left behind it when it was taken.
        self.grants: Sequence[tuple[str, Grant]] = ()


class Places:
    """The sockets of this node, counted together with those of the others where these can be asked."""

    def __init__(self, quotas: Mapping[str, Quota], shared: SharedPlaces | None, most: int, *, is_on: bool) -> None:
        #: With VYRY_LIMITS=off only the node as a whole has a number of places: a benchmark opens all its sockets from one address.
        kinds = (SOCKETS_ACCOUNT, SOCKETS_ADDRESS) if is_on else ()
        self._sizes = {kind.name: quotas[kind.name].windows[0].limit for kind in kinds}
        self._shared = shared
        self._most = most
        self._open = 0
        self._numbers = count(1)
        self._holders: dict[Room, list[Holder]] = {}

    @asynccontextmanager
    async def taken(self, user_id: UserId, mailbox: MailboxKey, address: str) -> AsyncIterator[Place]:
        """A place for one more socket, for as long as the context is open. Raises RateLimited (account, address), Unavailable (the node is full)."""
        if self._open >= self._most:
            raise Unavailable("This node has no room for more sockets.", PATIENCE_SECONDS)
        place = Place(tuple(self._rooms(user_id, address)), -next(self._numbers))
        others = {room: self._others(room, mailbox) for room in place.rooms}
        self._refuse_full(others)
        self._open += 1
        for room in place.rooms:
            self._holders.setdefault(room, []).append(place.holder)
        try:
            if self._shared is not None:
                sizes = {room: self._sizes[room.quota] for room in place.rooms}
                everywhere = await self._shared.enter(sizes, place.holder, mailbox) or {}
                others = {room: max(number, everywhere.get(room, 0)) for room, number in others.items()}
                self._refuse_full(others)
            place.grants = [(room.quota, self._grant(room, number + 1)) for room, number in others.items()]
            yield place
        finally:
            self._open -= 1
            await self._leave(place)

    async def settle(self, place: Place, mailbox: MailboxKey) -> None:
        """The socket said hello: it holds its device's place now, with or after an older one."""
        old, place.holder = place.holder, mailbox
        for room in place.rooms:
            holders = self._holders[room]
            holders[holders.index(old)] = mailbox
        if self._shared is not None:
            await self._shared.swap(place.rooms, old, mailbox)

    async def grants(self, user_id: UserId, address: str) -> list[tuple[str, Grant]]:
        """What is left of the places of this account and address."""
        rooms = list(self._rooms(user_id, address))
        everywhere = await self._shared.count(rooms) if self._shared is not None else None
        here = [len(set(self._holders.get(room, ()))) for room in rooms]
        pairs = zip(rooms, here, everywhere or here, strict=True)
        return [(room.quota, self._grant(room, max(numbers))) for room, *numbers in pairs]

    def held(self) -> Iterator[tuple[Room, Holder]]:
        """The places that devices hold here: whoever leases them renews these. Before hello no lease has time to end."""
        for room, holders in list(self._holders.items()):
            yield from ((room, holder) for holder in set(holders) if holder >= 0)

    def _rooms(self, user_id: UserId, address: str) -> Iterator[Room]:
        if SOCKETS_ACCOUNT.name in self._sizes:
            yield Room(SOCKETS_ACCOUNT.name, str(user_id))
        if SOCKETS_ADDRESS.name in self._sizes:
            yield Room(SOCKETS_ADDRESS.name, party(address))

    def _others(self, room: Room, mailbox: MailboxKey) -> int:
        return len(set(self._holders.get(room, ())) - {mailbox})

    def _refuse_full(self, others: Mapping[Room, int]) -> None:
        for room, number in others.items():
            size = self._sizes[room.quota]
            if number >= size:
                raise RateLimited(PATIENCE_SECONDS, policy=Policy(room.quota, size, 0))

    def _grant(self, room: Room, number: int) -> Grant:
        size = self._sizes[room.quota]
        return Grant(size, max(0, size - number), 0, 0)

    async def _leave(self, place: Place) -> None:
        for room in place.rooms:
            holders = self._holders[room]
            holders.remove(place.holder)
            if not holders:
                del self._holders[room]
        is_shared_here = any(place.holder in self._holders.get(room, ()) for room in place.rooms)
        if self._shared is not None and not place.is_taken_over and not is_shared_here:
            await self._shared.swap(place.rooms, place.holder, None)
