"""Pins for a device that this one lets into the account: with its provisioning as far as they fit, the rest before anything else is sealed for it (docs/signal-protocol.md, section 11)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vyry.client.circles import Circles
from vyry.client.device import Me
from vyry.client.device_lists import DeviceList, KnownDevices
from vyry.client.outgoing import FirstContents, Outgoing, hash_of, new_id
from vyry.client.packing import pack, unpack
from vyry.client.pin_book import PinBook
from vyry.client.store import Store
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.padding import MAX_PADDED
from vyry.signal_protocol.pins import HandedPins, Pin, parts, split
from vyry.signal_protocol.provisioning import Provisioning


_DUE: Final = "pins due"
#: What stands around the pins: `"pins":` in a provisioning, the common fields in a content.
_AROUND_HANDED: Final = 16
_AROUND_SENT: Final = 512


class PinsFirst(Exception):
    """A new own device has to get the pins that wait for it before this: post those, then seal again."""


@dataclass(frozen=True, slots=True)
class PinsDue:
    """Devices that were approved here and are on no list yet: how many, the own devices before them (number and key), and what was handed to each with its provisioning."""

    count: int
    known: tuple[tuple[int, bytes], ...]
    handed: HandedPins


class PinHanding:
    """Hands pins over. What it keeps survives the end of the process: `tend` goes on where it was."""

    def __init__(self, store: Store, circles: Circles, now: Callable[[], int]) -> None:
        self._store = store
        self._circles = circles
        self._now = now
        self._first = FirstContents(store)
        self._book = PinBook(store)

    async def look(self) -> None:
        """Learn which devices the account has before another one comes. Raises Refused, Unreachable."""
        await self._circles.lists.refresh(Me.of(self._store).user_id)

    def into(self, provisioning: Provisioning) -> Provisioning:
        """With as many pins as fit, those of people with a compared key first; the rest is due."""
        with self._store.transaction():
            handed, _ = split(self._book.held(), MAX_PADDED - 1 - len(provisioning.pack()) - _AROUND_HANDED)
            before = self._due()
            count = before.count + 1 if before is not None else 1
            common = handed if before is None else _common(before.handed, handed)
            self._store.put(_DUE, "", pack(PinsDue(count, self._listed(), common)))
        return replace(provisioning, pins=handed)

    async def tend(self) -> None:
        """Queue what is due, once the verified own list has the new device. Raises Refused, Unreachable."""
        if self._due() is not None:
            self.queue_due(await self._circles.devices(Me.of(self._store).user_id))

    def queue_due(self, listed: DeviceList) -> None:
        """The own list was verified: a device that it did not have at the approval gets what was not handed to it, ahead of all that waits."""
        with self._store.transaction():
            due = self._due()
            if due is None:
                return
            new = [(n, each.dh_key) for n, each in listed.devices.items() if (n, each.dh_key) not in due.known]
            for device_id, _ in new:
                self._queue_for(listed, device_id, due.handed)
            left = replace(due, count=due.count - len(new), known=(*due.known, *new))
            if new:
                self._store.put(_DUE, "", pack(left) if left.count > 0 else None)

    def check(self, listed: DeviceList, outgoing: Outgoing) -> None:
        """Before anything is sealed for own devices. Raises PinsFirst."""
        self.queue_due(listed)
        if not outgoing.is_first and any(each in listed.devices for each in self._first.devices()):
            raise PinsFirst

    def _queue_for(self, listed: DeviceList, device_id: int, handed: HandedPins) -> None:
        me, now = Me.of(self._store), self._now()
        peer, had = listed.device(device_id), set(handed.all())
        assert peer is not None
        rest: Sequence[Pin] = [each for each in self._book.held() if each not in had]
        waiting = []
        for part in parts(rest, MAX_PADDED - 1 - _AROUND_SENT):
            content = Content("sync", new_id(now), now, me.user_id, {"sync": {"pins": part.fields()}})
            sending = replace(Outgoing.of(content, now, "control"), own=content.pack(), people=(), is_pairwise=True)
            to = (me.user_id, device_id)
            waiting.append(replace(sending, device=to, device_hash=hash_of(peer)))
        self._first.add(waiting)

    def _due(self) -> PinsDue | None:
        kept = self._store.get(_DUE)
        return unpack(PinsDue, kept) if kept is not None else None

    def _listed(self) -> tuple[tuple[int, bytes], ...]:
        me = Me.of(self._store)
        seen = KnownDevices(self._store).seen(me.user_id)
        found = {} if seen is None else {number: each.dh_key for number, each in seen.newest.devices.items()}
        return tuple({**found, me.device_id: me.dh.public}.items())


def _common(one: HandedPins, other: HandedPins) -> HandedPins:
    had = set(other.all())
    return HandedPins.of(each for each in one.all() if each in had)
