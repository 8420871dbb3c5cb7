"""What is to be sent: kept before it leaves, sealed once for exactly the devices there are, and posted under one messageId until the node has answered."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.chain import text
from vyry.client.device import Me
from vyry.client.inbox import Event
from vyry.client.packing import pack, unpack
from vyry.client.peers import DeviceList, Peers, read_bundle, read_list
from vyry.client.refusals import Refused
from vyry.client.rest import Rest
from vyry.client.store import Store
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.keys import Bundle
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import IdentityChanged, Refusal


#: Device lists that change this often while one message is sealed are no accident.
_REPAIRS: Final = 5
_KIND: Final = "outgoing"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way. `body` is what was sealed, as it is posted until somebody answers; None has to be sealed first."""

    message_id: UUID
    number: int
    conversation_id: UUID
    lane: str
    plaintext: bytes = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


class Outbox:
    """Keeps, seals and posts."""

    def __init__(self, store: Store, rest: Rest, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._peers = Peers(store)

    def add(self, content: Content, lane: str = "mail") -> None:
        """From here on it is sent, whatever happens."""
        with self._store.transaction():
            number = int(self._store.get("outgoing number") or b"0") + 1
            self._store.put("outgoing number", "", str(number).encode())
            outgoing = Outgoing(new_id(self._now()), number, content.conversation_id, lane, content.pack())
            self._keep(outgoing)

    def is_waiting(self) -> bool:
        """Whether anything is still to be sent."""
        return bool(self._store.all(_KIND))

    async def post_all(self) -> None:
        """Post everything that waits, in order. Raises Unreachable: then the rest waits on."""
        waiting = [unpack(Outgoing, kept) for kept in self._store.all(_KIND)]
        for outgoing in sorted(waiting, key=lambda each: each.number):
            try:
                await self._post(outgoing)
            except (Refused, Refusal) as refused:
                reason = refused.code if isinstance(refused, Refused) else refused.name
                body = {"messageId": str(outgoing.message_id), "conversationId": str(outgoing.conversation_id)}
                self._done(outgoing, Event("notSent", {**body, "reason": reason}))
            else:
                self._done(outgoing)

    async def _post(self, outgoing: Outgoing) -> None:
        for _ in range(_REPAIRS):
            sealed = outgoing if outgoing.body else await self._seal(outgoing)
            assert sealed.body is not None
            try:
                await self._rest.call("POST", "/messages", orjson.loads(sealed.body))
                return
            except Refused as refused:
                if refused.code != "STALE_DEVICES":
                    raise
                self._repair(refused.body)
            # Nothing was stored under this id: it is free for what is sealed anew.
            outgoing = replace(outgoing, body=None)
        raise IdentityChanged

    async def _seal(self, outgoing: Outgoing) -> Outgoing:
        me = Me.of(self._store)
        people = await self._people(outgoing.conversation_id, me)
        lists = {person: await self._list(person) for person in people}
        addresses = [
            Address(person, device)
            for person, listed in lists.items()
            for device in listed.devices
            if (person, device) != (me.user_id, me.device_id)
        ]
        for address in addresses:
            self._peers.meet(address, lists[address.user_id].devices[address.device_id])
        bundles = await self._claim(addresses)
        with self._store.transaction():
            copies: dict[UUID, list[dict[str, Any]]] = {}
            for address in addresses:
                registration_id = lists[address.user_id].devices[address.device_id]
                copy = self._copy(me, address, outgoing.plaintext, bundles.get(address))
                copies.setdefault(address.user_id, []).append({**copy, "registrationId": registration_id})
            body = {
                "messageId": str(outgoing.message_id),
                "conversationId": str(outgoing.conversation_id),
                "lane": outgoing.lane,
                "recipients": [
                    {"userId": str(person), "epoch": lists[person].epoch, "devices": devices}
                    for person, devices in copies.items()
                ],
            }
            sealed = replace(outgoing, body=orjson.dumps(body))
            self._keep(sealed)
        return sealed

    def _copy(self, me: Me, address: Address, plaintext: bytes, bundle: Bundle | None) -> dict[str, Any]:
        """One device's copy. The ratchet behind it is stored in the same transaction, so no key serves twice."""
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
        return {"deviceId": address.device_id, "kind": content[1], "content": text(content)}

    async def _people(self, conversation_id: UUID, me: Me) -> Sequence[UUID]:
        """Everybody who gets a copy; oneself is among them, for the own other devices."""
        said = await self._rest.call("GET", f"/conversations/{conversation_id}")
        others = [UUID(member["userId"]) for member in said["members"]]
        return [me.user_id, *(person for person in others if person != me.user_id)]

    async def _list(self, person: UUID) -> DeviceList:
        known = self._peers.devices(person)
        if known is None:
            known = read_list(await self._rest.call("GET", f"/keys/{person}"))
            self._peers.keep_devices(person, known)
        return known

    async def _claim(self, addresses: Sequence[Address]) -> Mapping[Address, Bundle]:
        """Bundles for the devices with which a session has to begin."""
        wanted: dict[UUID, list[int]] = {}
        for address in addresses:
            if self._peers.sessions(address).must_begin(self._now()):
                wanted.setdefault(address.user_id, []).append(address.device_id)
        found: dict[Address, Bundle] = {}
        for person, devices in wanted.items():
            said = await self._rest.call("POST", f"/keys/{person}/claim", {"deviceIds": devices})
            for each in said["bundles"]:
                bundle = read_bundle(person, each)
                found[bundle.address] = bundle
        return found

    def _repair(self, stale: Mapping[str, Any]) -> None:
        """Forget the lists that are outdated; a device number given again begins anew."""
        with self._store.transaction():
            for name in ("missing", "extra", "stale"):
                for each in stale[name]:
                    self._peers.keep_devices(UUID(each["userId"]), None)
            for each in stale["stale"]:
                address = Address(UUID(each["userId"]), each["deviceId"])
                self._peers.keep_sessions(address, self._peers.sessions(address).archive())

    def _keep(self, outgoing: Outgoing) -> None:
        self._store.put(_KIND, str(outgoing.message_id), pack(outgoing))

    def _done(self, outgoing: Outgoing, event: Event | None = None) -> None:
        with self._store.transaction():
            self._store.put(_KIND, str(outgoing.message_id), None)
            if event is not None:
                self._store.add_event(pack(event))


def new_id(now: int) -> UUID:
    """A UUID of version 7 (RFC 9562 section 5.7): ids sort by the time they were made."""
    number = (now << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    return UUID(int=number)
