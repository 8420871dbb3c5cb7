"""Connection slots in Redis: for each account and address a sorted set of slot owners, scored by the end of their leases."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from vyry.kernel.batches import batched
from vyry.kernel.ids import MailboxKey
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys
from vyry.signals.socket_quotas import SlotOwner, SocketQuota


#: The slots of a node that dies are free after this time; a device that reconnects reuses its own slot at once.
LEASE_SECONDS: Final = 120.0
_BATCH: Final = 500


class RedisConnectionSlots:
    """SharedConnectionSlots over Redis. `run` renews the leases of this node."""

    def __init__(self, guard: RedisGuard, keys: RedisLimitKeys, lease_seconds: float = LEASE_SECONDS) -> None:
        self._guard = guard
        self._node = secrets.token_hex(8)
        self._keys = keys
        self._lease_seconds = lease_seconds
        self._lease = round(lease_seconds * 1000)
        self._claim = guard.load_script("clock", "slots_claim")
        self._renew = guard.load_script("clock", "slots_renew")
        self._transfer = guard.load_script("clock", "slots_transfer")
        self._count = guard.load_script("clock", "slots_count")

    async def acquire(
        self, quotas: Mapping[SocketQuota, int], owner: SlotOwner, own_mailbox: MailboxKey
    ) -> Mapping[SocketQuota, int] | None:
        args: list[str | int] = [self._lease, self._owner_name(owner), self._owner_name(own_mailbox), *quotas.values()]
        others = await self._guard.call(lambda: self._claim(keys=self._quota_keys(quotas), args=args))
        return None if others is None else dict(zip(quotas, others, strict=True))

    async def transfer(self, quotas: Sequence[SocketQuota], old_owner: SlotOwner, new_owner: SlotOwner | None) -> None:
        args: list[str | int] = [
            self._lease,
            self._owner_name(old_owner),
            "" if new_owner is None else self._owner_name(new_owner),
        ]
        await self._guard.call(lambda: self._transfer(keys=self._quota_keys(quotas), args=args))

    async def count(self, quotas: Sequence[SocketQuota]) -> Sequence[int] | None:
        return await self._guard.call(lambda: self._count(keys=self._quota_keys(quotas)))

    async def run(self, held: Callable[[], Iterable[tuple[SocketQuota, SlotOwner]]]) -> None:
        """Renew all leases until cancelled, long before they end; this also restores them after Redis lost its data."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            await self.renew(held())

    async def renew(self, held: Iterable[tuple[SocketQuota, SlotOwner]]) -> None:
        """Renew these leases; none while Redis is down."""
        for part in batched(held, _BATCH):
            await self._guard.call(partial(self._renew_batch, part))

    async def _renew_batch(self, part: Sequence[tuple[SocketQuota, SlotOwner]]) -> None:
        args: list[str | int] = [self._lease, *(self._owner_name(owner) for _, owner in part)]
        await self._renew(keys=self._quota_keys(quota for quota, _ in part), args=args)

    def _quota_keys(self, quotas: Iterable[SocketQuota]) -> list[str]:
        return [self._keys.key(quota.name, quota.subject) for quota in quotas]

    def _owner_name(self, owner: SlotOwner) -> str:
        """A mailbox has one name on all nodes; a connection without a mailbox has a name of this node."""
        return str(owner) if owner >= 0 else f"{self._node}:{-owner}"
