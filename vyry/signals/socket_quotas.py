"""Quotas of open sockets: per account, per address, and per node.

Theory: before its hello a socket has a slot of its own. At hello it takes the slot of its device, which an older socket of the device may still have: for a
while two sockets share one slot. So a device that reconnects is accepted even when all slots are taken, because one of them is its own.
A node counts its own sockets exactly; all nodes together count by leases, which expire when a node dies.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Final, NamedTuple, Protocol

from vyry.errors import LimitPolicy, RateLimited, Unavailable
from vyry.kernel.ids import MailboxKey, UserId
from vyry.limits import SOCKETS_ACCOUNT, SOCKETS_ADDRESS, Grant, Quota, network_key


#: A socket without a hello is closed after this time.
HELLO_TIMEOUT_SECONDS: Final = 10


class SocketQuota(NamedTuple):
    """What has a limited number of slots: an account or an address."""

    name: str
    subject: str


#: The owner of a slot: a mailbox, or (negative) a socket of this node before its hello.
SlotOwner = int


class SharedConnectionSlots(Protocol):
    """The slots of all nodes together; each method returns within a second."""

    async def acquire(
        self, quotas: Mapping[SocketQuota, int], owner: SlotOwner, own_mailbox: MailboxKey
    ) -> Mapping[SocketQuota, int] | None:
        """Take a slot in each of these quotas, or in none; returns how many other owners have one (of the first full quota: enough to fill it).

        The slot of `own_mailbox` counts as free. None while the count is not known.
        """
        ...

    async def transfer(self, quotas: Sequence[SocketQuota], old_owner: SlotOwner, new_owner: SlotOwner | None) -> None:
        """Free a slot in each quota, or pass it to another owner."""
        ...

    async def count(self, quotas: Sequence[SocketQuota]) -> Sequence[int] | None:
        """How many slots are taken in each; None while the count is not known."""
        ...


class ConnectionSlot:
    """The slot of one socket in its quotas, until the socket closes."""

    __slots__ = ("grants", "is_owned_elsewhere", "owner", "quotas")

    def __init__(self, quotas: Sequence[SocketQuota], owner: SlotOwner) -> None:
        self.quotas = quotas
        self.owner = owner
        #: Another node has the slot of the device now: this node must not free it.
        self.is_owned_elsewhere = False
        #: What was left of the quotas when the slot was taken.
        self.grants: Sequence[tuple[str, Grant]] = ()


class SlotLease:
    """Takes a slot when its context begins and gives it back at the end. A class with slots: each idle socket keeps one."""

    __slots__ = ("_mailbox", "_quotas", "_slot", "_slots")

    def __init__(self, slots: "ConnectionSlots", quotas: Sequence[SocketQuota], mailbox: MailboxKey) -> None:
        self._slots = slots
        self._quotas = quotas
        self._mailbox = mailbox
        self._slot: ConnectionSlot | None = None

    async def __aenter__(self) -> ConnectionSlot:
        slot = self._slot = await self._slots.take(self._quotas, self._mailbox)
        return slot

    async def __aexit__(self, *_: object) -> None:
        assert self._slot is not None
        await self._slots.give_back(self._slot)


class ConnectionSlots:
    """The slots of this node, counted together with those of all nodes while Redis is up."""

    def __init__(
        self, quotas: Mapping[str, Quota], *, shared: SharedConnectionSlots | None, max_sockets: int, has_limits: bool
    ) -> None:
        # With VYRY_LIMITS=off only the node as a whole has a limit: a benchmark opens all its sockets from one address.
        kinds = (SOCKETS_ACCOUNT, SOCKETS_ADDRESS) if has_limits else ()
        self._sizes = {kind.name: quotas[kind.name].windows[0].limit for kind in kinds}
        self._shared = shared
        self._max_sockets = max_sockets
        self._open_count = 0
        self._numbers = count(1)
        self._owners: dict[SocketQuota, list[SlotOwner]] = {}

    def acquire(self, user_id: UserId, mailbox: MailboxKey, address: str) -> "SlotLease":
        """A slot for one more socket, while the context is open. Raises RateLimited (account, address), Unavailable (the node is full)."""
        return SlotLease(self, tuple(self._quotas_of(user_id, address)), mailbox)

    async def take(self, quotas: Sequence[SocketQuota], mailbox: MailboxKey) -> ConnectionSlot:
        """Take a slot, until `give_back`. Raises as `acquire`."""
        if self._open_count >= self._max_sockets:
            raise Unavailable("This node has reached its socket limit.", HELLO_TIMEOUT_SECONDS)
        slot = ConnectionSlot(quotas, -next(self._numbers))
        others = {quota: self._count_others(quota, mailbox) for quota in slot.quotas}
        self._check_capacity(others)
        self._open_count += 1
        for quota in slot.quotas:
            self._owners.setdefault(quota, []).append(slot.owner)
        try:
            if self._shared is not None:
                sizes = {quota: self._sizes[quota.name] for quota in slot.quotas}
                everywhere = await self._shared.acquire(sizes, slot.owner, mailbox) or {}
                others = {quota: max(number, everywhere.get(quota, 0)) for quota, number in others.items()}
                self._check_capacity(others)
        except BaseException:
            await self.give_back(slot)
            raise
        slot.grants = [(quota.name, self._grant(quota, number + 1)) for quota, number in others.items()]
        return slot

    async def give_back(self, slot: ConnectionSlot) -> None:
        """The socket has closed."""
        self._open_count -= 1
        await self._release(slot)

    async def assign_to_device(self, slot: ConnectionSlot, mailbox: MailboxKey) -> None:
        """After its hello the socket has the slot of its device, which an older socket may share."""
        old, slot.owner = slot.owner, mailbox
        for quota in slot.quotas:
            owners = self._owners[quota]
            owners[owners.index(old)] = mailbox
        if self._shared is not None:
            await self._shared.transfer(slot.quotas, old, mailbox)

    async def remaining(self, user_id: UserId, address: str) -> list[tuple[str, Grant]]:
        """What is left of the quotas of this account and address."""
        socket_quotas = list(self._quotas_of(user_id, address))
        everywhere = await self._shared.count(socket_quotas) if self._shared is not None else None
        here = [len(set(self._owners.get(quota, ()))) for quota in socket_quotas]
        pairs = zip(socket_quotas, here, everywhere or here, strict=True)
        return [(quota.name, self._grant(quota, max(numbers))) for quota, *numbers in pairs]

    def device_slots(self) -> Iterator[tuple[SocketQuota, SlotOwner]]:
        """The slots of devices on this node, whose leases have to be renewed. Before a hello no lease expires."""
        for quota, owners in list(self._owners.items()):
            yield from ((quota, owner) for owner in set(owners) if owner >= 0)

    def _quotas_of(self, user_id: UserId, address: str) -> Iterator[SocketQuota]:
        if SOCKETS_ACCOUNT.name in self._sizes:
            yield SocketQuota(SOCKETS_ACCOUNT.name, str(user_id))
        if SOCKETS_ADDRESS.name in self._sizes:
            yield SocketQuota(SOCKETS_ADDRESS.name, network_key(address))

    def _count_others(self, quota: SocketQuota, mailbox: MailboxKey) -> int:
        return len(set(self._owners.get(quota, ())) - {mailbox})

    def _check_capacity(self, others: Mapping[SocketQuota, int]) -> None:
        for quota, number in others.items():
            size = self._sizes[quota.name]
            if number >= size:
                raise RateLimited(HELLO_TIMEOUT_SECONDS, policy=LimitPolicy(quota.name, size, 0))

    def _grant(self, quota: SocketQuota, number: int) -> Grant:
        size = self._sizes[quota.name]
        return Grant(size, max(0, size - number), 0, 0)

    async def _release(self, slot: ConnectionSlot) -> None:
        for quota in slot.quotas:
            owners = self._owners[quota]
            owners.remove(slot.owner)
            if not owners:
                del self._owners[quota]
        is_shared_here = any(slot.owner in self._owners.get(quota, ()) for quota in slot.quotas)
        if self._shared is not None and not slot.is_owned_elsewhere and not is_shared_here:
            await self._shared.transfer(slot.quotas, slot.owner, None)
