"""Pins for a device that this one lets into the account: with its provisioning as far as they fit, the rest before anything else is sealed for it (docs/signal-protocol.md, section 11)."""

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
from vyry.signal_protocol.pins import HandedPins, Pin, chunk_pins, split_pins
from vyry.signal_protocol.provisioning import Provisioning


#: What stands around the pins: `"pins":` in a provisioning, the common fields in a content.
_AROUND_HANDED: Final = 16
_AROUND_SENT: Final = 512


class PinsPending(Exception):
    """A new own device has to get the pins that wait for it before this: post those, then seal again."""


@dataclass(frozen=True, slots=True)
class PendingPins:
    """Devices that were approved here and are on no list yet: how many, the own devices before them (number and key), and what was handed to each with its provisioning."""

    count: int
    known: tuple[tuple[int, bytes], ...]
    handed: HandedPins


class PinTransfer:
    """Hands pins over. What it keeps survives the end of the process: `tend` goes on where it was."""

    def __init__(self, store: Store, circles: MemberDirectory, now: Callable[[], int]) -> None:
        self._store = store
        self._directory = circles
        self._now = now
        self._priority_contents = PriorityContents(store)
        self._registry = PinRegistry(store)

    async def refresh_own_list(self) -> None:
        """Learn which devices the account has before another one comes. Raises Refused, Unreachable."""
        await self._directory.device_lists.refresh(LocalDevice.load(self._store).user_id)

    def add_pins(self, provisioning: Provisioning) -> Provisioning:
        """With as many pins as fit, those of people with a compared key first; the rest is due."""
        with self._store.transaction():
            handed, _ = split_pins(
                self._registry.all_pins(), MAX_PADDED - 1 - len(provisioning.pack()) - _AROUND_HANDED
            )
            before = self._load_pending()
            count = before.count + 1 if before is not None else 1
            common = handed if before is None else _intersection(before.handed, handed)
            self._store.put(kinds.PINS_DUE, "", pack(PendingPins(count, self._own_devices(), common)))
        return replace(provisioning, pins=handed)

    async def queue_pending(self) -> None:
        """Queue what is due, once the verified own list has the new device. Raises Refused, Unreachable."""
        if self._load_pending() is not None:
            self.queue_for_new_devices(await self._directory.device_list(LocalDevice.load(self._store).user_id))

    def queue_for_new_devices(self, listed: DeviceList) -> None:
        """The own list was verified: a device that it did not have at the approval gets what was not handed to it, ahead of all that waits."""
        with self._store.transaction():
            due = self._load_pending()
            if due is None:
                return
            new = [(n, each.dh_key) for n, each in listed.devices.items() if (n, each.dh_key) not in due.known]
            for device_id, _ in new:
                self._queue_for(listed, device_id, due.handed)
            left = replace(due, count=due.count - len(new), known=(*due.known, *new))
            if new:
                self._store.put(kinds.PINS_DUE, "", pack(left) if left.count > 0 else None)

    def check_order(self, listed: DeviceList, outgoing: Outgoing) -> None:
        """Before anything is sealed for own devices. Raises PinsFirst."""
        self.queue_for_new_devices(listed)
        if not outgoing.is_first and any(each in listed.devices for each in self._priority_contents.waiting_devices()):
            raise PinsPending

    def _queue_for(self, listed: DeviceList, device_id: int, handed: HandedPins) -> None:
        me, now = LocalDevice.load(self._store), self._now()
        peer, had = listed.device(device_id), set(handed.all())
        assert peer is not None
        rest: Sequence[Pin] = [each for each in self._registry.all_pins() if each not in had]
        waiting = []
        for part in chunk_pins(rest, MAX_PADDED - 1 - _AROUND_SENT):
            content = Content("sync", new_id(now), now, me.user_id, {"sync": {"pins": part.fields()}})
            outgoing = Outgoing.to_own_devices(content, now)
            waiting.append(replace(outgoing, device=(me.user_id, device_id), device_hash=hash_device(peer)))
        self._priority_contents.add(waiting)

    def _load_pending(self) -> PendingPins | None:
        kept = self._store.get(kinds.PINS_DUE)
        return unpack(PendingPins, kept) if kept is not None else None

    def _own_devices(self) -> tuple[tuple[int, bytes], ...]:
        me = LocalDevice.load(self._store)
        seen = KnownDevices(self._store).history(me.user_id)
        found = {} if seen is None else {number: each.dh_key for number, each in seen.newest.devices.items()}
        return tuple({**found, me.device_id: me.dh.public}.items())


def _intersection(one: HandedPins, other: HandedPins) -> HandedPins:
    had = set(other.all())
    return HandedPins.from_pins(each for each in one.all() if each in had)
