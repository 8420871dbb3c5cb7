"""Who may open one more socket: so many per account, so many per address, so many on this node.

Theory: a socket that has not said hello holds a place of its own. At hello it takes over the place of its device, which an older socket of the device may
still hold: for a while two sockets share one place. So a device that comes back finds room even where all places are taken: its own is there already.
This node counts exactly; the nodes together count by leases, which end by themselves when a node dies.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final, NamedTuple, Protocol

from vyry.errors import LimitPolicy, RateLimited, Unavailable
from vyry.kernel.ids import MailboxKey, UserId
from vyry.limits import SOCKETS_ACCOUNT, SOCKETS_ADDRESS, Grant, Quota, network_key


#: A socket that says no hello leaves after this time (web/live/timeouts.py).
HELLO_TIMEOUT_SECONDS: Final = 10


class SocketQuota(NamedTuple):
    """What has a number of places: an account or an address."""

    name: str
    subject: str


#: Who holds a place: a mailbox, or (negative) a socket of this node that has not said hello.
SlotOwner = int


class SharedConnectionSlots(Protocol):
    """The places that are taken on all nodes together; each method answers after a second at the latest."""

    async def acquire(
        self, quotas: Mapping[SocketQuota, int], owner: SlotOwner, own_mailbox: MailboxKey
    ) -> Mapping[SocketQuota, int] | None:
        """Take a place in each of these rooms, which have so many, or in none; answers how many others hold one (of the first that is full: enough to fill it).

        The place of `own` counts as free. None when that cannot be told.
        """
        ...

    async def transfer(self, quotas: Sequence[SocketQuota], old_owner: SlotOwner, new_owner: SlotOwner | None) -> None:
        """Give up a place in each room, or to another holder."""
        ...

    async def count(self, quotas: Sequence[SocketQuota]) -> Sequence[int] | None:
        """How many places are taken in each; None when that cannot be told."""
        ...


class ConnectionSlot:
    """One socket's place in its rooms; lasts until the socket is gone."""

    __slots__ = ("grants", "is_owned_elsewhere", "owner", "quotas")

    def __init__(self, quotas: Sequence[SocketQuota], owner: SlotOwner) -> None:
        self.quotas = quotas
        self.owner = owner
        #: Another node holds the device's place now: it is not this one's to give up.
        self.is_owned_elsewhere = False
        #: What was left behind it when it was taken.
        self.grants: Sequence[tuple[str, Grant]] = ()


class ConnectionSlots:
    """The sockets of this node, counted together with those of the others where these can be asked."""

    def __init__(
        self, quotas: Mapping[str, Quota], *, shared: SharedConnectionSlots | None, max_sockets: int, has_limits: bool
    ) -> None:
        #: With VYRY_LIMITS=off only the node as a whole has a number of places: a benchmark opens all its sockets from one address.
        kinds = (SOCKETS_ACCOUNT, SOCKETS_ADDRESS) if has_limits else ()
        self._sizes = {kind.name: quotas[kind.name].windows[0].limit for kind in kinds}
        self._shared = shared
        self._max_sockets = max_sockets
        self._open_count = 0
        self._numbers = count(1)
        self._owners: dict[SocketQuota, list[SlotOwner]] = {}

    @asynccontextmanager
    async def acquire(self, user_id: UserId, mailbox: MailboxKey, address: str) -> AsyncIterator[ConnectionSlot]:
        """A place for one more socket, for as long as the context is open. Raises RateLimited (account, address), Unavailable (the node is full)."""
        if self._open_count >= self._max_sockets:
            raise Unavailable("This node has reached its socket limit.", HELLO_TIMEOUT_SECONDS)
        place = ConnectionSlot(tuple(self._quotas_of(user_id, address)), -next(self._numbers))
        others = {room: self._count_others(room, mailbox) for room in place.quotas}
        self._check_capacity(others)
        self._open_count += 1
        for room in place.quotas:
            self._owners.setdefault(room, []).append(place.owner)
        try:
            if self._shared is not None:
                sizes = {room: self._sizes[room.name] for room in place.quotas}
                everywhere = await self._shared.acquire(sizes, place.owner, mailbox) or {}
                others = {room: max(number, everywhere.get(room, 0)) for room, number in others.items()}
                self._check_capacity(others)
            place.grants = [(room.name, self._grant(room, number + 1)) for room, number in others.items()]
            yield place
        finally:
            self._open_count -= 1
            await self._release(place)

    async def assign_to_device(self, slot: ConnectionSlot, mailbox: MailboxKey) -> None:
        """The socket said hello: it holds its device's place now, with or after an older one."""
        old, slot.owner = slot.owner, mailbox
        for room in slot.quotas:
            holders = self._owners[room]
            holders[holders.index(old)] = mailbox
        if self._shared is not None:
            await self._shared.transfer(slot.quotas, old, mailbox)

    async def remaining(self, user_id: UserId, address: str) -> list[tuple[str, Grant]]:
        """What is left of the places of this account and address."""
        rooms = list(self._quotas_of(user_id, address))
        everywhere = await self._shared.count(rooms) if self._shared is not None else None
        here = [len(set(self._owners.get(room, ()))) for room in rooms]
        pairs = zip(rooms, here, everywhere or here, strict=True)
        return [(room.name, self._grant(room, max(numbers))) for room, *numbers in pairs]

    def device_slots(self) -> Iterator[tuple[SocketQuota, SlotOwner]]:
        """The places that devices hold here: whoever leases them renews these. Before hello no lease has time to end."""
        for room, holders in list(self._owners.items()):
            yield from ((room, holder) for holder in set(holders) if holder >= 0)

    def _quotas_of(self, user_id: UserId, address: str) -> Iterator[SocketQuota]:
        if SOCKETS_ACCOUNT.name in self._sizes:
            yield SocketQuota(SOCKETS_ACCOUNT.name, str(user_id))
        if SOCKETS_ADDRESS.name in self._sizes:
            yield SocketQuota(SOCKETS_ADDRESS.name, network_key(address))

    def _count_others(self, room: SocketQuota, mailbox: MailboxKey) -> int:
        return len(set(self._owners.get(room, ())) - {mailbox})

    def _check_capacity(self, others: Mapping[SocketQuota, int]) -> None:
        for room, number in others.items():
            size = self._sizes[room.name]
            if number >= size:
                raise RateLimited(HELLO_TIMEOUT_SECONDS, policy=LimitPolicy(room.name, size, 0))

    def _grant(self, room: SocketQuota, number: int) -> Grant:
        size = self._sizes[room.name]
        return Grant(size, max(0, size - number), 0, 0)

    async def _release(self, slot: ConnectionSlot) -> None:
        for room in slot.quotas:
            holders = self._owners[room]
            holders.remove(slot.owner)
            if not holders:
                del self._owners[room]
        is_shared_here = any(slot.owner in self._owners.get(room, ()) for room in slot.quotas)
        if self._shared is not None and not slot.is_owned_elsewhere and not is_shared_here:
            await self._shared.transfer(slot.quotas, slot.owner, None)
