"""The key directory: devices publish keys, others claim them. A one-time key that was handed out is never handed out again."""

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


#: A claim that takes either kind below this many is told to the device, once per refill.
LOW_WATER: Final = 20
#: So many unused keys of one kind a device may have; it tops up by at most 100 at a time.
MAX_UNUSED: Final = 1_000


class Relationship(Enum):
    """How near an account is to the one that asks for its keys."""

    #: One blocks the other and they are in no group together: for the asker the account does not exist.
    HIDDEN = "hidden"
    STRANGER = "stranger"
    #: They share a group, or a direct conversation in which the account has written: opening one makes nobody known. A block between two members of one group changes nothing here: it must not show.
    ACQUAINTED = "acquainted"
    #: Friends, or the account itself.
    FRIEND = "friend"


#: What a claim of one-time keys counts against, the narrowest limit first: strangers cannot use up the share of friends.
_CLAIM_QUOTAS: Final[Mapping[Relationship, tuple[Quota, ...]]] = {
    Relationship.STRANGER: (CLAIM_STRANGERS, CLAIM_OTHERS, CLAIM_ALL),
    Relationship.ACQUAINTED: (CLAIM_OTHERS, CLAIM_ALL),
    Relationship.FRIEND: (CLAIM_ALL,),
}


class PrekeyStore(Protocol):
    """Where keys are kept. All methods of one account exclude each other; each commits before it answers."""

    async def replace(self, owner: Caller, upload: KeyUpload, now: datetime) -> None:
        """Put this set in the place of the device's present one; the first upload makes the device a recipient.

        The device-list epoch rises with the first upload. Raises IdentityMismatch, InvalidKeys (an id not beyond those handed out, another registration
        id than in the first upload, a registration id this device number had before), InvalidToken (the device has ended).
        """
        ...

    async def refill(self, owner: Caller, verified_under: Identity, refill: KeyRefill, now: datetime) -> None:
        """Add keys that were verified under that identity.

        Raises InvalidKeys (no set to add to, another identity by now, an id not beyond those uploaded, too many), InvalidToken.
        """
        ...

    async def identity(self, mailbox: MailboxKey) -> Identity | None:
        """The identity that this device's keys are signed by; None before its first upload."""
        ...

    async def state(self, mailbox: MailboxKey) -> KeyState | None:
        """What is there for this device, of one moment; None before its first upload."""
        ...

    async def relationship(self, user_id: UserId, asker: UserId) -> Relationship:
        """What stands between this account and the asker. An unknown account is a stranger."""
        ...

    async def keys(self, user_id: UserId) -> AccountKeys:
        """The account's devices with keys, by rising number, of one moment. Consumes nothing. Raises NotFound."""
        ...

    async def claim(
        self,
        user_id: UserId,
        device_ids: Collection[DeviceId] | None,
        exclude_mailbox: MailboxKey,
        *,
        takes_one_time: bool = True,
    ) -> ClaimResult:
        """One bundle for each of these devices (None: all but the one whose mailbox is `without`).

        One-time keys leave lowest id first, whoever else claims; a device without PQ one-time key gives its last resort, and that is counted.
        With `takes_one_time` false no one-time key leaves: every bundle has the last resort.
        Raises NotFound for an unknown account or device number: then nothing was consumed.
        """
        ...


class LowPrekeyListener(Protocol):
    """Hears which devices run out of one-time keys; once each until they refill."""

    async def prekeys_low(self, remaining: Mapping[MailboxKey, HighestIds]) -> None:
        """Tell these devices how many keys they have left. Losing the call costs them a hint only."""
        ...


class RestoreGuard(Protocol):
    """Makes sure that what was handed out stays handed out."""

    async def begin_claim(self) -> int:
        """Before a claim. Raises Unavailable while nobody knows whether the directory is as it was."""
        ...

    async def confirm_claim(self, begun: int) -> None:
        """From now on no older copy of the directory serves claims. Raises Unavailable: then nothing of this claim may be handed out."""
        ...


class Prekeys:
    """What a device may do with keys."""

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
        """Count an upload before anything of it is read or verified. Raises RateLimited."""
        return await self._limiter.consume(KEYS, str(caller.user_id))

    async def replace(self, caller: Caller, upload: KeyUpload) -> KeyState:
        """Publish a whole set. Raises InvalidKeys, IdentityMismatch, InvalidToken."""
        await asyncio.to_thread(check_upload, upload)
        await self._store.replace(caller, upload, self._clock.now())
        return await self.state(caller)

    async def refill(self, caller: Caller, refill: KeyRefill) -> KeyState:
        """Add keys to the present set. Raises InvalidKeys, InvalidToken."""
        identity = await self._store.identity(caller.mailbox)
        if identity is None:
            raise InvalidKeys("There is no set to add to: send a whole one first.")
        await asyncio.to_thread(check_refill, identity, refill)
        await self._store.refill(caller, identity, refill, self._clock.now())
        return await self.state(caller)

    async def state(self, caller: Caller) -> KeyState:
        """What the node holds for the caller's device; an empty state before its first upload."""
        return await self._store.state(caller.mailbox) or KeyState()

    async def keys(self, caller: Caller, user_id: UserId) -> AccountKeys:
        """The long-lived keys of an account. Raises NotFound, also where one blocks the other."""
        if await self._store.relationship(user_id, caller.user_id) is Relationship.HIDDEN:
            raise NotFound
        return await self._store.keys(user_id)

    async def claim(
        self, caller: Caller, user_id: UserId, device_ids: Collection[DeviceId] | None
    ) -> tuple[ClaimResult, list[tuple[str, Grant]]]:
        """Bundles to begin sessions with an account's devices, and what the limits leave.

        Where the share of the account's one-time keys that the caller belongs to is used up, all bundles have the last resort.
        Raises NotFound, RateLimited (the caller's own limit), Unavailable.
        """
        # The caller's own limit comes first, for a blocked caller too: else a refusal that never comes would tell the block from an unknown id.
        own = await self._limiter.consume(CLAIM_TARGET, f"{caller.device}:{user_id}")
        relationship = await self._store.relationship(user_id, caller.user_id)
        if relationship is Relationship.HIDDEN:
            raise NotFound
        share, has_room = await self._consume_claim_quotas(user_id, relationship)
        begun = await self._restore_guard.begin_claim()
        claimed = await self._store.claim(user_id, device_ids, caller.mailbox, takes_one_time=has_room)
        if any(bundle.one_time or not bundle.is_last_resort for bundle in claimed.bundles):
            await self._restore_guard.confirm_claim(begun)
        if claimed.low_counts:
            await self._listener.prekeys_low(claimed.low_counts)
        return claimed, [(CLAIM_TARGET.name, own), *share]

    async def _consume_claim_quotas(
        self, user_id: UserId, relationship: Relationship
    ) -> tuple[list[tuple[str, Grant]], bool]:
        """Count a claim of one-time keys of this account: what is left of each limit, and whether all of them granted it."""
        grants: list[tuple[str, Grant]] = []
        for quota in _CLAIM_QUOTAS[relationship]:
            try:
                grants.append((quota.name, await self._limiter.consume(quota, str(user_id))))
            except RateLimited as refusal:
                return [*grants, *exhausted_grants(refusal)], False
        return grants, True


def crosses_low_water(before: HighestIds, after: HighestIds) -> bool:
    """Whether a claim took either kind of keys below the low-water mark; who never had so many is not told."""
    return after.one_time < LOW_WATER <= before.one_time or after.pq < LOW_WATER <= before.pq


def check_new_ids(keys: KeyUpload | KeyRefill, through: HighestIds) -> None:
    """Whether the (rising) ids of these keys all lie beyond `through`. Raises InvalidKeys."""
    for field, prekeys, last in (
        ("oneTimePrekeys", keys.one_time, through.one_time),
        ("pqPrekeys", keys.pq, through.pq),
    ):
        if prekeys and prekeys[0].id <= last:
            raise invalid_key(f"{field}.0.id", f"must be beyond {last}: an id is never used twice")


def check_registration_id(registration_id: int, present: int | None, earlier: Collection[int]) -> None:
    """Whether a device that has this registration id (None: no keys yet) may upload that one.

    `earlier` are those of ended devices with its number. Raises InvalidKeys.
    """
    if present is not None and registration_id != present:
        raise invalid_key("registrationId", f"must be {present} as long as this device lives: register or link it anew")
    if present is None and registration_id in earlier:
        raise invalid_key("registrationId", "an earlier device with this number had the same")


def check_unused_count(one_time: int, pq: int) -> None:
    """Whether a device may have so many unused keys. Raises InvalidKeys."""
    if one_time > MAX_UNUSED or pq > MAX_UNUSED:
        raise InvalidKeys(f"A device has at most {MAX_UNUSED} unused keys of one kind.")
