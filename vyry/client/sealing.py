"""Contents, sealed for exactly the devices there are: device by device, or once for a whole group under a sender key that each of them was told before.

The ratchet behind a copy is stored before the copy leaves, so no key serves twice, whatever dies.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.chain import text
from vyry.client.circles import Circle, Circles, DeviceList, forget_devices
from vyry.client.device import Me
from vyry.client.outgoing import Outgoing, Sent, new_id, only
from vyry.client.own_keys import OwnKeys
from vyry.client.peers import Peers, note_changed, read_bundle
from vyry.client.refusals import Refused
from vyry.client.rest import Rest
from vyry.client.store import Store
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.frame import ContentType
from vyry.signal_protocol.keys import Bundle
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import IdentityChanged
from vyry.signal_protocol.sender_keys import Distribution, Reader, Speaker, Where


#: So many devices are told a sender key in one post: it has to fit into a body.
TOLD_AT_ONCE: Final = 50
Post = Callable[[bytes], Any]


class ListsOutdated(Exception):
    """A device is gone that was listed: the list was forgotten, seal again."""


@dataclass(frozen=True, slots=True)
class Roll:
    """For whom something is sealed: devices by person, this one left out."""

    me: Me
    circle: Circle
    lists: Mapping[UUID, DeviceList]

    def addresses(self) -> Iterator[Address]:
        """Every device."""
        for person, listed in self.lists.items():
            for device in listed.devices:
                if (person, device) != (self.me.user_id, self.me.device_id):
                    yield Address(person, device)

    def registration_id(self, address: Address) -> int:
        """Which device of that number it is."""
        return self.lists[address.user_id].devices[address.device_id]

    def readers(self) -> frozenset[Reader]:
        """All of them as sender keys remember them."""
        return frozenset(Reader(address, self.registration_id(address)) for address in self.addresses())

    def recipients(self, copies: Mapping[Address, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """As a post names them."""
        found: dict[UUID, list[dict[str, Any]]] = {}
        for address, copy in copies.items():
            device = {"deviceId": address.device_id, "registrationId": self.registration_id(address), **copy}
            found.setdefault(address.user_id, []).append(device)
        return [
            {"userId": str(person), "epoch": self.lists[person].epoch, "devices": devices}
            for person, devices in found.items()
        ]


class Sealing:
    """Seals what is outgoing."""

    def __init__(self, store: Store, rest: Rest, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._peers = Peers(store)
        self._keys = OwnKeys(store)
        self.circles: Final = Circles(store, rest)

    async def seal(self, outgoing: Outgoing, post: Post) -> tuple[bytes | None, Sent]:
        """The body of the post, None when there is nobody to get it, and what went to whom; everything behind it is stored.

        Sender keys are told by `post` before. Raises Refused, Unreachable, a Refusal; ListsOutdated: do it again.
        """
        roll = await self._roll(outgoing)
        if roll.circle.is_group and outgoing.lane == "mail" and not outgoing.is_pairwise:
            await self._tell(outgoing.conversation_id, roll, post)
            return self._shared(outgoing, roll)
        return await self._pairwise(outgoing, roll)

    async def _roll(self, outgoing: Outgoing) -> Roll:
        me = Me.of(self._store)
        circle = await self.circles.get(outgoing.conversation_id)
        # Whoever left is not named any more: the node would know no such person, and refuse it for all.
        named = [each for each in circle.members if outgoing.people is None or each in outgoing.people]
        changed = [person for person in named if self._store.get("changed", str(person)) is not None]
        if changed and not circle.is_group:
            raise IdentityChanged
        people = [me.user_id, *(person for person in named if person not in (me.user_id, *changed))]
        roll = Roll(me, circle, {person: await self.circles.devices(person) for person in people})
        for address in roll.addresses():
            self._peers.meet(address, roll.registration_id(address))
        return roll

    async def _tell(self, conversation_id: UUID, roll: Roll, post: Post) -> None:
        """Tell the present sender key to all who do not have it, some people at a time."""
        where = Where(conversation_id, roll.me.own.address)
        own = self._keys.current(where, roll.readers(), self._now())
        missing = {reader.address.user_id for reader in own.untold(roll.readers())}
        others = sorted(missing - {roll.me.user_id})
        if not missing:
            return
        for people in list(_chunks(others, roll)) or [[]]:
            own = await self._tell_some(own, replace(roll, lists=_part(roll, people)), post)

    async def _tell_some(self, own: Speaker, roll: Roll, post: Post) -> Speaker:
        where, now = own.key.where, self._now()
        content = Content(Distribution.KIND, new_id(now), now, where.conversation_id, own.key.distribution().fields())
        telling = replace(Outgoing.of(content, now, "control"), own=content.pack(), is_pairwise=True)
        body, _ = await self._pairwise(telling, roll)
        if body is not None:
            await post(body)
        own = own.telling(roll.readers())
        self._keys.keep(where.conversation_id, own)
        return own

    def _shared(self, outgoing: Outgoing, roll: Roll) -> tuple[bytes | None, Sent]:
        """One content for all."""
        copies: dict[Address, dict[str, Any]] = {
            address: {"kind": ContentType.SENDER_KEY.value} for address in roll.addresses()
        }
        sent = Sent(outgoing.plaintext, None, tuple(map(only, copies)), is_group=True)
        if not copies:
            return None, sent
        own = self._keys.get(outgoing.conversation_id)
        assert own is not None
        own, content = own.seal(outgoing.plaintext)
        self._keys.keep(outgoing.conversation_id, own)
        return _body(
            outgoing, roll, copies, {"content": text(content), "conversationVersion": roll.circle.version}
        ), sent

    async def _pairwise(self, outgoing: Outgoing, roll: Roll) -> tuple[bytes | None, Sent]:
        """A content of its own for each device."""
        bundles = await self._claim(list(roll.addresses()))
        nothing = _nothing(outgoing.conversation_id, self._now())
        copies: dict[Address, dict[str, Any]] = {}
        real: list[tuple[UUID, int]] = []
        with self._store.transaction():
            for address in roll.addresses():
                plaintext = _plaintext_for(address, outgoing, roll.me)
                copies[address] = self._copy(roll.me, address, plaintext or nothing, bundles.get(address))
                if plaintext:
                    real.append(only(address))
        sent = Sent(outgoing.plaintext, outgoing.own, tuple(real), is_group=False)
        # In a group somebody may leave at any time: by the version the node tells who it was.
        version = {"conversationVersion": roll.circle.version} if roll.circle.is_group else {}
        return (_body(outgoing, roll, copies, version) if copies else None), sent

    def _copy(self, me: Me, address: Address, plaintext: bytes, bundle: Bundle | None) -> dict[str, Any]:
        sessions = self._peers.sessions(address)
        if bundle is not None:
            held = self._peers.identity(address.user_id)
            if held not in (None, bundle.identity_key):
                raise IdentityChanged
            sessions = sessions.begin(me.own, bundle, self._now())
            self._peers.keep_identity(address.user_id, bundle.identity_key)
            self._peers.keep_registration_id(address, bundle.registration_id)
        sessions, content = sessions.seal(plaintext)
        self._peers.keep_sessions(address, sessions)
        return {"kind": content[1], "content": text(content)}

    async def _claim(self, addresses: Sequence[Address]) -> Mapping[Address, Bundle]:
        """Bundles for the devices with which a session has to begin."""
        wanted: dict[UUID, list[int]] = {}
        for address in addresses:
            if self._peers.sessions(address).must_begin(self._now()):
                wanted.setdefault(address.user_id, []).append(address.device_id)
        found: dict[Address, Bundle] = {}
        for person, devices in wanted.items():
            try:
                said = await self._rest.call("POST", f"/keys/{person}/claim", {"deviceIds": devices})
            except Refused as refused:
                if refused.code != "NOT_FOUND":
                    raise
                forget_devices(self._store, person)
                raise ListsOutdated from None
            for each in said["bundles"]:
                bundle = read_bundle(person, each)
                self._look_at(person, bundle)
                found[bundle.address] = bundle
        return found

    def _look_at(self, person: UUID, bundle: Bundle) -> None:
        """Somebody with another key than the one held: the person is asked, and until then nothing is sealed for them."""
        if self._peers.identity(person) in (None, bundle.identity_key):
            return
        with self._store.transaction():
            note_changed(self._store, person)
        raise IdentityChanged


def _plaintext_for(address: Address, outgoing: Outgoing, me: Me) -> bytes | None:
    """None: this device has to be named, but it is not meant."""
    if outgoing.device is not None:
        return outgoing.plaintext if only(address) == outgoing.device else None
    return outgoing.own if address.user_id == me.user_id else outgoing.plaintext


def _nothing(conversation_id: UUID, now: int) -> bytes:
    """A content without effect: a receipt about nothing."""
    return Content("receipt", new_id(now), now, conversation_id, {"state": "delivered", "targets": []}).pack()


def _body(
    outgoing: Outgoing, roll: Roll, copies: Mapping[Address, Mapping[str, Any]], more: Mapping[str, Any]
) -> bytes:
    head = {"messageId": str(outgoing.message_id), "conversationId": str(outgoing.conversation_id)}
    return orjson.dumps({**head, "lane": outgoing.lane, **more, "recipients": roll.recipients(copies)})


def _chunks(people: Sequence[UUID], roll: Roll) -> Iterator[list[UUID]]:
    """People, so many at a time that their devices and one's own fit into one post."""
    chunk: list[UUID] = []
    devices = 0
    for person in people:
        more = len(roll.lists[person].devices)
        if chunk and devices + more > TOLD_AT_ONCE:
            yield chunk
            chunk, devices = [], 0
        chunk.append(person)
        devices += more
    if chunk:
        yield chunk


def _part(roll: Roll, people: Sequence[UUID]) -> Mapping[UUID, DeviceList]:
    return {person: roll.lists[person] for person in (roll.me.user_id, *people)}
