"""The devices of accounts, from lists in which every row is signed by the identity key stored for the account (docs/signal-protocol.md, sections 3 and 13).

The node serves the lists. A row that the identity key did not sign, or that repeats the key of another row, is not a device: nothing is sealed for it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import LATE_DAYS, Peers, clear_changed_key, record_changed_key
from vyry.client.errors import Refused
from vyry.client.store import kinds
from vyry.client.store.events import DeviceListDiffers, OwnDeviceAdded, OwnIdentityForged
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.packing import pack, unpack_cached
from vyry.client.store.store import DAY_MS, Store
from vyry.client.transport.rest import RestClient, rate_limit_as_unreachable
from vyry.client.transport.validation import read_device_id, read_int, read_registration_id, read_text_or_none
from vyry.signal_protocol.keys import dh_key_message
from vyry.signal_protocol.primitives import Address, verify
from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.safety import ListedKeys, device_list_fingerprint
from vyry.signal_protocol.sessions import PeerDevice


_SUITE: Final = "vyry"
#: How many earlier lists of an account are known by their fingerprints.
_MAX_FINGERPRINTS: Final = 20


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A row of a verified list."""

    registration_id: int
    dh_key: bytes


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The verified devices of an account by device id, and the identity key that signed them."""

    epoch: int
    identity_key: bytes = b""
    devices: Mapping[int, ListedDevice] = field(default_factory=dict)

    def device(self, device_id: int) -> PeerDevice | None:
        """The device under this id."""
        found = self.devices.get(device_id)
        return None if found is None else PeerDevice(self.identity_key, found.dh_key, found.registration_id)

    def fingerprint(self, user_id: UUID, without: int | None = None) -> bytes:
        """The fingerprint of section 13, 32 bytes; `without` leaves out one device."""
        rows = [
            ListedKeys(number, each.registration_id, each.dh_key)
            for number, each in self.devices.items()
            if number != without
        ]
        return device_list_fingerprint(user_id, self.identity_key, rows)


@dataclass(frozen=True, slots=True)
class EndedDevice:
    """A device that a later list no longer had, and since when (ms since 1970)."""

    device_id: int
    dh_key: bytes
    ended_at: int


def _may_have_late_mail(ended: EndedDevice, now: int) -> bool:
    """Whether mail of the device can still be waiting somewhere."""
    return now - ended.ended_at <= LATE_DAYS * DAY_MS


@dataclass(frozen=True, slots=True)
class DeviceListHistory:
    """What verified lists of an account have shown so far: the newest list and since when (ms since 1970), devices that ended recently, and fingerprints of earlier lists."""

    newest: DeviceList
    ended: tuple[EndedDevice, ...] = ()
    fingerprints: tuple[bytes, ...] = ()
    since: int = 0

    def contains(self, device_id: int, dh_key: bytes | None, now: int) -> bool:
        """Whether this very device (with `dh_key` None: any device of this id) is listed, or ended recently."""
        listed = self.newest.devices.get(device_id)
        late = [each.dh_key for each in self.ended if each.device_id == device_id and _may_have_late_mail(each, now)]
        keys = late if listed is None else [listed.dh_key, *late]
        return bool(keys) if dh_key is None else dh_key in keys

    def with_list(self, user_id: UUID, listed: DeviceList, now: int) -> "DeviceListHistory":
        """The history with a newer list."""
        gone = [
            EndedDevice(number, each.dh_key, now)
            for number, each in self.newest.devices.items()
            if listed.devices.get(number) != each
        ]
        ended = [each for each in self.ended if _may_have_late_mail(each, now)]
        if listed.devices == self.newest.devices:
            return replace(self, newest=listed, ended=tuple(ended))
        fingerprints = (*self.fingerprints, self.newest.fingerprint(user_id))[-_MAX_FINGERPRINTS:]
        return DeviceListHistory(listed, (*ended, *gone), fingerprints, now)


class DeviceLists:
    """Fetches device lists, verifies and remembers them."""

    def __init__(self, store: Store, rest: RestClient, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._peers = Peers(store)
        self._known = KnownDevices(store)

    async def get(self, user_id: UUID) -> DeviceList:
        """The verified devices of an account; none when the account was deleted. A list under another identity key than the stored one is rejected: `identityChanged`. Raises Refused, Unreachable."""
        known = self._known.current(user_id)
        return known if known is not None else await self.refresh(user_id)

    async def refresh(self, user_id: UUID) -> DeviceList:
        """As `get`, always from the node."""
        try:
            response = await self._rest.call("GET", f"/keys/{user_id}")
        except Refused as refused:
            if refused.code != "NOT_FOUND":
                raise
            return DeviceList(0)
        with self._rest.validated_response():
            return await self._accept_list(LocalDevice.load(self._store), user_id, response)

    async def _accept_list(self, me: LocalDevice, user_id: UUID, response: Mapping[str, Any]) -> DeviceList:
        identity_key = decode_bytes(response["identityKey"]) if response["identityKey"] else b""
        stored = self._peers.identity_key(user_id)
        if user_id == me.user_id:
            return await self._accept_own_list(me, identity_key, response)
        if stored is not None and identity_key != stored:
            return self._record_changed_key(user_id, identity_key)
        clear_changed_key(self._store, user_id)
        listed, refused_rows = _verify_rows(identity_key, response)
        with self._store.transaction():
            for device_id in refused_rows:
                self._add_event(DeviceListDiffers(user_id=user_id, device_id=device_id, seen_by="node"))
            self._known.record(user_id, listed, self._now())
        return listed

    def _record_changed_key(self, user_id: UUID, identity_key: bytes) -> DeviceList:
        if identity_key:
            with self._store.transaction():
                record_changed_key(self._store, user_id, identity_key)
        return DeviceList(0)

    async def _accept_own_list(self, me: LocalDevice, identity_key: bytes, response: Mapping[str, Any]) -> DeviceList:
        """The account's own list: only rows signed by its own identity key count."""
        own_key = me.identity.public
        listed, refused_rows = _verify_rows(own_key, response)
        own_row = ListedDevice(me.registration_id, me.dh.public)
        contradicting = {
            number for number, each in listed.devices.items() if (number == me.device_id) != (each == own_row)
        }
        listed = replace(listed, devices={n: each for n, each in listed.devices.items() if n not in contradicting})
        forged = sorted({*refused_rows, *contradicting})
        added = self._known.find_added(me.user_id, listed)
        names = await self._fetch_device_names() if added else {}
        with self._store.transaction():
            for device_id in forged:
                self._add_event(OwnIdentityForged(source="list", device_id=device_id))
            if identity_key not in (b"", own_key):
                self._add_event(OwnIdentityForged(source="list"))
            for device_id in added:
                row = names.get(device_id, {})
                name, platform, at = (read_text_or_none(row.get(key)) for key in ("name", "platform", "linkedAt"))
                added_event = OwnDeviceAdded(device_id=device_id, device_name=name, platform=platform, added_at=at)
                # Not `add_once`: the node chooses the name, and a removed device that is listed again is a new event.
                Journal(self._store).add(added_event)
            if me.point is not None and me.device_id not in listed.devices:
                self._add_event(DeviceListDiffers(user_id=me.user_id, device_id=me.device_id, seen_by="peer"))
            self._known.record(me.user_id, listed, self._now())
        return listed

    async def _fetch_device_names(self) -> Mapping[int, Mapping[str, Any]]:
        """The display data that the node reports of the account's devices, by device id; empty if the node refuses."""
        with suppress(Refused):
            return {each["deviceId"]: each for each in await self._rest.list_all("/devices", "devices")}
        return {}

    def _add_event(self, event: DeviceListDiffers | OwnIdentityForged) -> None:
        Journal(self._store).add_once(event, self._now())


class KnownDevices:
    """The stored device lists, without a request to the node; inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)

    def current(self, user_id: UUID) -> DeviceList | None:
        """The list as it was verified, unless it was invalidated or another identity key has been stored since."""
        packed = self._store.get(kinds.DEVICE_LIST, str(user_id))
        listed = unpack_cached(DeviceList, packed) if packed is not None else None
        stored = self._peers.identity_key(user_id)
        return listed if listed is not None and stored in (None, listed.identity_key) else None

    def history(self, user_id: UUID) -> DeviceListHistory | None:
        """Everything that lists under the stored identity key have shown."""
        packed = self._store.get(kinds.DEVICE_HISTORY, str(user_id))
        history = unpack_cached(DeviceListHistory, packed) if packed is not None else None
        stored = self._peers.identity_key(user_id)
        return history if history is not None and stored in (None, history.newest.identity_key) else None

    def find_device(self, address: Address) -> PeerDevice | None:
        """The device under this id, if a list is known."""
        listed = self.current(address.user_id)
        return None if listed is None else listed.device(address.device_id)

    def is_ended(self, address: Address) -> bool:
        """Whether a list is known and has no device under this id."""
        listed = self.current(address.user_id)
        return listed is not None and address.device_id not in listed.devices

    def is_new(self, address: Address) -> bool:
        """Whether no list so far had a device under this id."""
        history = self.history(address.user_id)
        if history is None:
            return True
        return address.device_id not in history.newest.devices and all(
            each.device_id != address.device_id for each in history.ended
        )

    def find_added(self, user_id: UUID, listed: DeviceList) -> list[int]:
        """Devices that no earlier list had; none at the first list."""
        history = self.history(user_id)
        return (
            []
            if history is None
            else [n for n, each in listed.devices.items() if history.newest.devices.get(n) != each]
        )

    def record(self, user_id: UUID, listed: DeviceList, now: int) -> None:
        """Remember a verified list."""
        before = self.history(user_id)
        after = DeviceListHistory(listed, since=now) if before is None else before.with_list(user_id, listed, now)
        self._store.put(kinds.DEVICE_LIST, str(user_id), pack(listed))
        self._store.put(kinds.DEVICE_HISTORY, str(user_id), pack(after))
        if after.ended:
            self._store.put(kinds.DEVICES_ENDED, str(user_id), user_id.bytes)

    def delete_ended(self, before: int) -> None:
        """All mail accepted before this moment (ms since 1970) has arrived: devices that had ended by then are deleted."""
        for user_id in (UUID(bytes=packed) for packed in self._store.all(kinds.DEVICES_ENDED)):
            history = self.history(user_id)
            remaining = () if history is None else tuple(each for each in history.ended if each.ended_at > before)
            if history is not None:
                self._store.put(kinds.DEVICE_HISTORY, str(user_id), pack(replace(history, ended=remaining)))
            if not remaining:
                self._store.put(kinds.DEVICES_ENDED, str(user_id), None)


async def fetch_identity_key(rest: RestClient, user_id: UUID) -> bytes | None:
    """The identity key that the node reports now; nothing is remembered. None for an unknown account or one without keys. Raises Unreachable."""
    try:
        with rate_limit_as_unreachable():
            response = await rest.call("GET", f"/keys/{user_id}")
    except Refused:
        return None
    with rest.validated_response():
        return decode_bytes(response["identityKey"]) if response["identityKey"] else None


def invalidate_device_list(store: Store, user_id: UUID) -> None:
    """The list of this account is fetched again before its next use."""
    store.put(kinds.DEVICE_LIST, str(user_id), None)


def _verify_rows(identity_key: bytes, response: Mapping[str, Any]) -> tuple[DeviceList, list[int]]:
    """The rows that this identity key signed, each with a key of its own; and the ids of all other rows."""
    found: dict[int, ListedDevice] = {}
    refused: list[int] = []
    if response["suite"] != _SUITE:
        return DeviceList(read_int(response["epoch"]), identity_key), refused
    for each in sorted(response["devices"], key=lambda each: read_device_id(each["deviceId"])):
        dh_key = decode_bytes(each["identityDhKey"])
        is_duplicate = each["deviceId"] in found or any(dh_key == known.dh_key for known in found.values())
        if is_duplicate or not _is_signed(identity_key, dh_key, decode_bytes(each["identityDhSignature"])):
            refused.append(each["deviceId"])
        else:
            found[each["deviceId"]] = ListedDevice(read_registration_id(each["registrationId"]), dh_key)
    return DeviceList(read_int(response["epoch"]), identity_key, found), refused


def _is_signed(identity_key: bytes, dh_key: bytes, signature: bytes) -> bool:
    try:
        verify(identity_key, signature, dh_key_message(identity_key, dh_key))
    except Refusal:
        return False
    return True
