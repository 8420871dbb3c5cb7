"""Pins for a device that this device approves (docs/signal-protocol.md, section 11).

The provisioning carries as many pins as fit. The rest is sent before anything else is sealed for the new device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.crypto.device_lists import DeviceList, KnownDevices
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.pin_registry import PinRegistry
from vyry.client.store import kinds
from vyry.client.store.outgoing import Outgoing, PriorityContents, hash_device
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.kernel.ids import new_id
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.frame import MAX_PADDED
from vyry.signal_protocol.pins import Pin, PinSet, chunk_pins, split_pins
from vyry.signal_protocol.provisioning import Provisioning


#: Bytes around the pins: `"pins":` in a provisioning, the common fields in a content.
_PROVISIONING_OVERHEAD: Final = 16
_CONTENT_OVERHEAD: Final = 512


class PinsPending(Exception):
    """A new own device must receive its pending pins first: post those, then seal again."""


@dataclass(frozen=True, slots=True)
class PendingPins:
    """Devices that were approved here and are on no list yet: how many, the own devices before them (id and key), and the pins that each received with its provisioning."""

    count: int
    known: tuple[tuple[int, bytes], ...]
    handed: PinSet


class PinTransfer:
    """Sends pins to new own devices. Pending pins survive a restart: `queue_pending` continues."""

    def __init__(self, store: Store, directory: MemberDirectory, now: Callable[[], int]) -> None:
        self._store = store
        self._directory = directory
        self._now = now
        self._priority_contents = PriorityContents(store)
        self._registry = PinRegistry(store)

    async def refresh_own_list(self) -> None:
        """Fetch the account's devices before another one is added. Raises Refused, Unreachable."""
        await self._directory.device_lists.refresh(LocalDevice.load(self._store).user_id)

    def add_pins(self, provisioning: Provisioning) -> Provisioning:
        """The provisioning with as many pins as fit, those of people with a compared key first; the rest is pending."""
        with self._store.transaction():
            sent_pins, _ = split_pins(
                self._registry.all_pins(), MAX_PADDED - 1 - len(provisioning.pack()) - _PROVISIONING_OVERHEAD
            )
            before = self._load_pending()
            count = before.count + 1 if before is not None else 1
            common = sent_pins if before is None else _intersection(before.handed, sent_pins)
            self._store.put(kinds.PENDING_PINS, "", pack(PendingPins(count, self.own_devices(), common)))
        return replace(provisioning, pins=sent_pins)

    async def queue_pending(self) -> None:
        """Queue pending pins once the verified own list has the new device. Raises Refused, Unreachable."""
        if self._load_pending() is not None:
            self.queue_for_new_devices(await self._directory.device_list(LocalDevice.load(self._store).user_id))

    def queue_for_new_devices(self, listed: DeviceList) -> None:
        """The own list was verified: a device that it did not have at the approval gets the remaining pins, before everything else that is queued."""
        with self._store.transaction():
            pending = self._load_pending()
            if pending is None:
                return
            new = [(n, each.dh_key) for n, each in listed.devices.items() if (n, each.dh_key) not in pending.known]
            for device_id, _ in new:
                self._queue_for(listed, device_id, pending.handed)
            remaining = replace(pending, count=pending.count - len(new), known=(*pending.known, *new))
            if new:
                self._store.put(kinds.PENDING_PINS, "", pack(remaining) if remaining.count > 0 else None)

    def check_order(self, listed: DeviceList, outgoing: Outgoing) -> None:
        """Check before anything is sealed for own devices. Raises PinsPending."""
        self.queue_for_new_devices(listed)
        if not outgoing.is_first and any(each in listed.devices for each in self._priority_contents.waiting_devices()):
            raise PinsPending

    def _queue_for(self, listed: DeviceList, device_id: int, sent_pins: PinSet) -> None:
        me, now = LocalDevice.load(self._store), self._now()
        peer, excluded = listed.device(device_id), set(sent_pins.all())
        assert peer is not None
        remaining: Sequence[Pin] = [each for each in self._registry.all_pins() if each not in excluded]
        contents = []
        for pins in chunk_pins(remaining, MAX_PADDED - 1 - _CONTENT_OVERHEAD):
            content = Content("sync", new_id(now), now, me.user_id, {"sync": {"pins": pins.fields()}})
            outgoing = Outgoing.to_own_devices(content, now)
            contents.append(replace(outgoing, device=(me.user_id, device_id), device_hash=hash_device(peer)))
        self._priority_contents.add(contents)

    def _load_pending(self) -> PendingPins | None:
        packed = self._store.get(kinds.PENDING_PINS)
        return unpack(PendingPins, packed) if packed is not None else None

    def own_devices(self) -> tuple[tuple[int, bytes], ...]:
        """The verified own devices: id and key of each."""
        me = LocalDevice.load(self._store)
        history = KnownDevices(self._store).history(me.user_id)
        found = {} if history is None else {number: each.dh_key for number, each in history.newest.devices.items()}
        return tuple({**found, me.device_id: me.dh.public}.items())


def _intersection(one: PinSet, other: PinSet) -> PinSet:
    had = set(other.all())
    return PinSet.from_pins(each for each in one.all() if each in had)
