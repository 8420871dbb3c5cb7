"""The key directory: devices publish keys, other devices claim them. A claimed one-time key is never returned again."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

from vyry.accounts.account import Caller
from vyry.clock import Clock
from vyry.devices.key_validation import check_refill, check_upload, invalid_key
from vyry.devices.keyset import AccountKeys, ClaimResult, HighestIds, Identity, KeyRefill, KeyState, KeyUpload
from vyry.errors import InvalidKeys, NotFound, RateLimited
from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.limits import (
    CLAIM_ALL,
    CLAIM_OTHERS,
    CLAIM_STRANGERS,
    CLAIM_TARGET,
    KEYS,
    Grant,
    Limiter,
    Quota,
    exhausted_grants,
)


#: The low-water mark: a claim that takes either kind of one-time key below it notifies the device, once per refill.
LOW_WATER: Final = 20
#: The most unused keys of one kind; a device uploads at most 100 at a time.
MAX_UNUSED: Final = 1_000


class Relationship(Enum):
    """The relationship of an account to the account that claims its keys."""

    #: One blocks the other, and they share no group: the claimer gets NotFound.
    HIDDEN = "hidden"
    STRANGER = "stranger"
    #: They share a group, or a direct conversation in which the account itself has written. A block between two members of a group does not change
    #: this: it must not be visible.
    ACQUAINTED = "acquainted"
    #: Friends, or the account itself.
    FRIEND = "friend"


#: The quotas that a claim of one-time keys is charged to, the narrowest first: strangers cannot use up the share of friends.
_CLAIM_QUOTAS: Final[Mapping[Relationship, tuple[Quota, ...]]] = {
    Relationship.STRANGER: (CLAIM_STRANGERS, CLAIM_OTHERS, CLAIM_ALL),
    Relationship.ACQUAINTED: (CLAIM_OTHERS, CLAIM_ALL),
    Relationship.FRIEND: (CLAIM_ALL,),
}


class PrekeyStore(Protocol):
    """Stores keys. Methods on one account are serialised; each commits before it returns."""

    async def replace(self, owner: Caller, upload: KeyUpload, now: datetime) -> None:
        """Replace the set of the device. The first upload makes the device a recipient and raises the device-list epoch.

        Raises IdentityMismatch, InvalidKeys (an id not above the claimed ones, another registration id than in the first upload, the registration id of
        an earlier device with this device id), InvalidToken (the device has ended).
        """
        ...

    async def refill(self, owner: Caller, verified_under: Identity, refill: KeyRefill, now: datetime) -> None:
        """Add keys that were verified under this identity.

        Raises InvalidKeys (no set yet, the identity has changed, an id not above the uploaded ones, too many keys), InvalidToken.
        """
        ...

    async def identity(self, mailbox: MailboxKey) -> Identity | None:
        """The identity of the device's keys; None before its first upload."""
        ...

    async def state(self, mailbox: MailboxKey) -> KeyState | None:
        """The stored keys of the device, in one snapshot; None before its first upload."""
        ...

    async def relationship(self, user_id: UserId, asker: UserId) -> Relationship:
        """The relationship of this account to the asker. An unknown account is a STRANGER."""
        ...

    async def keys(self, user_id: UserId) -> AccountKeys:
        """The account's devices with keys, ordered by device id, in one snapshot. Consumes no key. Raises NotFound."""
        ...

    async def claim(
        self,
        user_id: UserId,
        device_ids: Collection[DeviceId] | None,
        exclude_mailbox: MailboxKey,
        *,
        takes_one_time: bool = True,
    ) -> ClaimResult:
        """Claim one bundle of each of these devices (None: all but the one with `exclude_mailbox`).

        One-time keys are consumed lowest id first, also by concurrent claims. A device without a PQ one-time key yields its last-resort prekey, which is
        counted. Without `takes_one_time` no one-time key is consumed: every bundle has the last-resort prekey.
        Raises NotFound for an unknown account or device id: then nothing was consumed.
        """
        ...


class LowPrekeyListener(Protocol):
    """Is notified of devices below the low-water mark; once each until they refill."""

    async def prekeys_low(self, remaining: Mapping[MailboxKey, HighestIds]) -> None:
        """Notify these devices of their remaining keys. Best effort."""
        ...


class RestoreGuard(Protocol):
    """Guards claims against a database that was restored to an earlier state."""

    async def begin_claim(self) -> int:
        """Begin a claim. Raises Unavailable while it is unknown whether the database was restored."""
        ...

    async def confirm_claim(self, begun: int) -> None:
        """After this, an older copy of the database is detected before it serves claims. Raises Unavailable: the claim must not be returned."""
        ...


class Prekeys:
    """Publishes and claims keys."""

    def __init__(
        self,
        store: PrekeyStore,
        *,
        limiter: Limiter,
        clock: Clock,
        listener: LowPrekeyListener,
        restore_guard: RestoreGuard,
    ) -> None:
        self._store = store
        self._limiter = limiter
        self._clock = clock
        self._listener = listener
        self._restore_guard = restore_guard

    async def consume_upload_quota(self, caller: Caller) -> Grant:
        """Charge an upload, before its body is read. Raises RateLimited."""
        return await self._limiter.consume(KEYS, str(caller.user_id))

    async def replace(self, caller: Caller, upload: KeyUpload) -> KeyState:
        """Publish a complete set. Raises InvalidKeys, IdentityMismatch, InvalidToken."""
        await asyncio.to_thread(check_upload, upload)
        await self._store.replace(caller, upload, self._clock.now())
        return await self.state(caller)

    async def refill(self, caller: Caller, refill: KeyRefill) -> KeyState:
        """Add keys to the set. Raises InvalidKeys, InvalidToken."""
        identity = await self._store.identity(caller.mailbox)
        if identity is None:
            raise InvalidKeys("This device has no keys yet: upload a complete set first.")
        await asyncio.to_thread(check_refill, identity, refill)
        await self._store.refill(caller, identity, refill, self._clock.now())
        return await self.state(caller)

    async def state(self, caller: Caller) -> KeyState:
        """The stored keys of the caller's device; an empty state before its first upload."""
        return await self._store.state(caller.mailbox) or KeyState()

    async def keys(self, caller: Caller, user_id: UserId) -> AccountKeys:
        """The long-lived keys of an account. Raises NotFound, also for Relationship.HIDDEN."""
        if await self._store.relationship(user_id, caller.user_id) is Relationship.HIDDEN:
            raise NotFound
        return await self._store.keys(user_id)

    async def claim(
        self, caller: Caller, user_id: UserId, device_ids: Collection[DeviceId] | None
    ) -> tuple[ClaimResult, list[tuple[str, Grant]]]:
        """Claim bundles of an account's devices; returns them with the remaining quotas.

        If the quota of the account's one-time keys for this relationship is used up, all bundles have the last-resort prekey.
        Raises NotFound, RateLimited (the caller's own limit), Unavailable.
        """
        # The caller's own limit is charged first, for a blocked caller too: a missing RateLimited would distinguish a block from an unknown id.
        own = await self._limiter.consume(CLAIM_TARGET, f"{caller.device}:{user_id}")
        relationship = await self._store.relationship(user_id, caller.user_id)
        if relationship is Relationship.HIDDEN:
            raise NotFound
        grants, is_granted = await self._consume_claim_quotas(user_id, relationship)
        begun = await self._restore_guard.begin_claim()
        claimed = await self._store.claim(user_id, device_ids, caller.mailbox, takes_one_time=is_granted)
        if any(bundle.one_time or not bundle.is_last_resort for bundle in claimed.bundles):
            await self._restore_guard.confirm_claim(begun)
        if claimed.low_counts:
            await self._listener.prekeys_low(claimed.low_counts)
        return claimed, [(CLAIM_TARGET.name, own), *grants]

    async def _consume_claim_quotas(
        self, user_id: UserId, relationship: Relationship
    ) -> tuple[list[tuple[str, Grant]], bool]:
        """Charge a claim of one-time keys of this account; returns the remaining quotas, and whether all of them granted it."""
        grants: list[tuple[str, Grant]] = []
        for quota in _CLAIM_QUOTAS[relationship]:
            try:
                grants.append((quota.name, await self._limiter.consume(quota, str(user_id))))
            except RateLimited as refusal:
                return [*grants, *exhausted_grants(refusal)], False
        return grants, True


def crosses_low_water(before: HighestIds, after: HighestIds) -> bool:
    """Whether a claim took either kind of key below the low-water mark; a device that was below it before does not count."""
    return after.one_time < LOW_WATER <= before.one_time or after.pq < LOW_WATER <= before.pq


def check_new_ids(keys: KeyUpload | KeyRefill, through: HighestIds) -> None:
    """Check that all ids of these keys are above `through`. Raises InvalidKeys."""
    for field, prekeys, last in (
        ("oneTimePrekeys", keys.one_time, through.one_time),
        ("pqPrekeys", keys.pq, through.pq),
    ):
        if prekeys and prekeys[0].id <= last:
            raise invalid_key(f"{field}.0.id", f"must be above {last}: an id is never used twice")


def check_registration_id(registration_id: int, present: int | None, earlier: Collection[int]) -> None:
    """Check the registration id of an upload; `present` is that of the device (None: no keys yet).

    `earlier` are those of ended devices with the same device id. Raises InvalidKeys.
    """
    if present is not None and registration_id != present:
        raise invalid_key("registrationId", f"must stay {present}: to change it, register or link the device again")
    if present is None and registration_id in earlier:
        raise invalid_key("registrationId", "was used by an earlier device with this device id")


def check_unused_count(one_time: int, pq: int) -> None:
    """Check how many unused keys a device would have. Raises InvalidKeys."""
    if one_time > MAX_UNUSED or pq > MAX_UNUSED:
        raise InvalidKeys(f"A device can have at most {MAX_UNUSED} unused keys of one kind.")
