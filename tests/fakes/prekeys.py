"""The key directory and the device lists in dictionaries: what tests use, and the shortest telling of what the database must do.

Nothing here awaits, so every method is alone while it runs.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime

from tests.fakes.relationships import Relationships
from vyry.accounts.account import Caller
from vyry.devices.device_lists import ListedDevice, Recipient
from vyry.devices.keyset import (
    AccountKeys,
    Bundle,
    ClaimResult,
    DeviceKeys,
    HighestIds,
    Identity,
    KeyRefill,
    KeyState,
    KeyUpload,
    OneTimePrekey,
    SignedPrekey,
)
from vyry.devices.prekeys import (
    Relationship,
    check_new_ids,
    check_registration_id,
    check_unused_count,
    crosses_low_water,
)
from vyry.errors import IdentityMismatch, InvalidKeys, InvalidToken, NotFound
from vyry.kernel.ids import DeviceId, MailboxKey, UserId


@dataclass
class MemoryKeySet:
    """The keys of one device."""

    identity: Identity
    signed_prekey: SignedPrekey
    signed_prekey_at: datetime
    pq_last_resort: SignedPrekey
    one_time: list[OneTimePrekey]
    pq: list[SignedPrekey]
    issued: HighestIds
    uploaded: HighestIds
    last_resort_uses: int = 0
    is_low_told: bool = False

    def count_unused(self) -> HighestIds:
        """How many unused keys there are."""
        return HighestIds(len(self.one_time), len(self.pq))


@dataclass
class MemoryDevice:
    """One device; without registration id it is no recipient."""

    device_id: DeviceId
    mailbox: MailboxKey
    registration_id: int | None = None
    is_ended: bool = False
    keys: MemoryKeySet | None = None


@dataclass
class MemoryAccount:
    """One account with its devices, ended ones too."""

    epoch: int = 1
    identity: Identity | None = None
    devices: list[MemoryDevice] = field(default_factory=list)

    def recipients(self) -> list[MemoryDevice]:
        """The devices that are recipients, by rising number."""
        present = [device for device in self.devices if not device.is_ended and device.registration_id is not None]
        return sorted(present, key=lambda device: device.device_id)


class MemoryKeyAccounts(dict[UserId, MemoryAccount]):
    """All accounts; whoever makes them puts them here."""

    def live_device(self, owner: Caller) -> tuple[MemoryAccount, MemoryDevice]:
        """The caller's account and live device. Raises InvalidToken."""
        for device in self[owner.user_id].devices:
            if device.mailbox == owner.mailbox and not device.is_ended:
                return self[owner.user_id], device
        raise InvalidToken("This device has ended.")

    def key_set(self, mailbox: MailboxKey) -> MemoryKeySet | None:
        """The key set of a device."""
        devices = (device for account in self.values() for device in account.devices)
        return next((device.keys for device in devices if device.mailbox == mailbox), None)


class MemoryPrekeys:
    """PrekeyStore. There are no groups here."""

    def __init__(self, people: MemoryKeyAccounts, ties: Relationships | None = None) -> None:
        self._people = people
        self._ties = ties or Relationships()

    async def replace(self, owner: Caller, upload: KeyUpload, now: datetime) -> None:
        publish_keys(self._people, owner, upload, now)

    async def refill(self, owner: Caller, verified_under: Identity, refill: KeyRefill, now: datetime) -> None:
        _, device = self._people.live_device(owner)
        held = device.keys
        if held is None or held.identity != verified_under:
            raise InvalidKeys("The set was replaced meanwhile.")
        check_new_ids(refill, held.uploaded)
        check_unused_count(len(held.one_time) + len(refill.one_time), len(held.pq) + len(refill.pq))
        held.one_time += refill.one_time
        held.pq += refill.pq
        held.uploaded = _through(refill, held.uploaded)
        held.is_low_told = held.is_low_told and not (refill.one_time or refill.pq)
        if refill.signed_prekey and refill.signed_prekey.key != held.signed_prekey.key:
            held.signed_prekey_at = now
        if refill.pq_last_resort and refill.pq_last_resort.key != held.pq_last_resort.key:
            held.last_resort_uses = 0
        held.signed_prekey = refill.signed_prekey or held.signed_prekey
        held.pq_last_resort = refill.pq_last_resort or held.pq_last_resort

    async def identity(self, mailbox: MailboxKey) -> Identity | None:
        held = self._people.key_set(mailbox)
        return held.identity if held else None

    async def state(self, mailbox: MailboxKey) -> KeyState | None:
        held = self._people.key_set(mailbox)
        if held is None:
            return None
        pq = [OneTimePrekey(prekey.id, prekey.key) for prekey in held.pq]
        return KeyState(
            tuple(held.one_time), pq, held.signed_prekey.id, held.signed_prekey_at, held.last_resort_uses, held.issued
        )

    async def relationship(self, user_id: UserId, asker: UserId) -> Relationship:
        if self._ties.is_blocked(user_id, asker):
            return Relationship.HIDDEN
        if user_id == asker or (user_id, asker) in self._ties.friends:
            return Relationship.FRIEND
        chat = self._ties.direct_conversations.get(frozenset({user_id, asker}))
        return Relationship.ACQUAINTED if (chat, user_id) in self._ties.writers else Relationship.STRANGER

    async def keys(self, user_id: UserId) -> AccountKeys:
        account = self._account(user_id)
        suite, key = (account.identity.suite, account.identity.key) if account.identity else (None, None)
        return AccountKeys(user_id, suite, key, account.epoch, [_device(*each) for each in _with_keys(account)])

    async def claim(
        self,
        user_id: UserId,
        device_ids: Collection[DeviceId] | None,
        exclude_mailbox: MailboxKey,
        *,
        takes_one_time: bool = True,
    ) -> ClaimResult:
        account = self._account(user_id)
        present = {device.device_id: (device, keys) for device, keys in _with_keys(account)}
        if device_ids is None:
            wanted = [each for each in present.values() if each[0].mailbox != exclude_mailbox]
        elif not present.keys() >= set(device_ids):
            raise NotFound("This account has no such device with keys.")
        else:
            wanted = [each for number, each in present.items() if number in device_ids]
        low: dict[MailboxKey, HighestIds] = {}
        bundles = []
        for device, keys in wanted:
            before = keys.count_unused()
            bundles.append(_pop_bundle(device, keys, takes_one_time=takes_one_time))
            if crosses_low_water(before, keys.count_unused()) and not keys.is_low_told:
                keys.is_low_told = True
                low[device.mailbox] = keys.count_unused()
        return ClaimResult(account.epoch, bundles, low)

    def _account(self, user_id: UserId) -> MemoryAccount:
        if user_id not in self._people:
            raise NotFound
        return self._people[user_id]


def publish_keys(people: MemoryKeyAccounts, owner: Caller, upload: KeyUpload, now: datetime) -> None:
    """As PrekeyStore.replace; nothing has changed when it refuses."""
    account, device = people.live_device(owner)
    if account.identity and account.identity.key != upload.identity.key:
        raise IdentityMismatch
    earlier = [each for each in account.devices if each.device_id == device.device_id and each is not device]
    check_registration_id(
        upload.registration_id, device.registration_id, [each.registration_id or 0 for each in earlier]
    )
    held = device.keys
    issued = held.issued if held else HighestIds()
    check_new_ids(upload, issued)
    device.keys = MemoryKeySet(
        upload.identity,
        upload.signed_prekey,
        held.signed_prekey_at if held and held.signed_prekey.key == upload.signed_prekey.key else now,
        upload.pq_last_resort,
        list(upload.one_time),
        list(upload.pq),
        issued,
        _through(upload, issued),
        held.last_resort_uses if held and held.pq_last_resort.key == upload.pq_last_resort.key else 0,
    )
    account.identity = account.identity or upload.identity
    account.epoch += device.registration_id != upload.registration_id
    device.registration_id = upload.registration_id


class MemoryDeviceLists:
    """DeviceLists."""

    def __init__(self, people: MemoryKeyAccounts) -> None:
        self._people = people

    async def load_lists(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        known = {user: self._people[user] for user in users if user in self._people}
        return {
            user: Recipient(
                user,
                account.epoch,
                {
                    each.device_id: ListedDevice(each.registration_id or 0, each.mailbox)
                    for each in account.recipients()
                },
            )
            for user, account in known.items()
        }


def _through(keys: KeyUpload | KeyRefill, before: HighestIds) -> HighestIds:
    return HighestIds(
        keys.one_time[-1].id if keys.one_time else before.one_time, keys.pq[-1].id if keys.pq else before.pq
    )


def _with_keys(account: MemoryAccount) -> list[tuple[MemoryDevice, MemoryKeySet]]:
    return [(device, device.keys) for device in account.recipients() if device.keys]


def _device(device: MemoryDevice, keys: MemoryKeySet) -> DeviceKeys:
    return DeviceKeys(device.device_id, device.registration_id or 0, keys.identity)


def _pop_bundle(device: MemoryDevice, keys: MemoryKeySet, *, takes_one_time: bool) -> Bundle:
    one_time = keys.one_time.pop(0) if keys.one_time and takes_one_time else None
    pq = keys.pq.pop(0) if keys.pq and takes_one_time else None
    keys.issued = replace(
        keys.issued,
        one_time=one_time.id if one_time else keys.issued.one_time,
        pq=pq.id if pq else keys.issued.pq,
    )
    keys.last_resort_uses += pq is None
    return Bundle(
        _device(device, keys), keys.signed_prekey, one_time, pq or keys.pq_last_resort, is_last_resort=pq is None
    )
