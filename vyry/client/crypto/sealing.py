"""Contents, sealed for exactly the devices there are: device by device, or once for a whole group under a sender key that each of them was told before.

The ratchet behind a copy is stored before the copy leaves, so no key serves twice, whatever dies.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.crypto.conversation_members import ConversationMembers, MemberDirectory
from vyry.client.crypto.device_lists import DeviceList, invalidate_device_list
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.own_sender_keys import OwnSenderKeys
from vyry.client.crypto.peers import Peers, changed_key, read_bundle, record_changed_key
from vyry.client.crypto.pin_transfer import PinTransfer
from vyry.client.errors import Refused
from vyry.client.store.events import DeviceListDiffers, OwnIdentityForged
from vyry.client.store.journal import Journal
from vyry.client.store.outgoing import Outgoing, SentContent, SentTo, hash_device
from vyry.client.store.store import Store
from vyry.client.transport.rest import RestClient
from vyry.kernel.base64_text import encode_base64
from vyry.kernel.ids import new_id
from vyry.signal_protocol.contents import Content, parse_object, write_object
from vyry.signal_protocol.frame import MAX_PADDED, ContentType
from vyry.signal_protocol.keys import Bundle
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import IdentityChanged, Refusal
from vyry.signal_protocol.sender_keys import Distribution, KeyRecipient, OwnSenderKey, SenderKeyScope
from vyry.signal_protocol.sessions import PeerDevice, peer_device


#: So many devices are told a sender key in one post: it has to fit into a body.
DEVICES_PER_POST: Final = 50
Post = Callable[[bytes], Any]


class ListsOutdated(Exception):
    """A device is gone that was listed: the list was forgotten, seal again."""


@dataclass(frozen=True, slots=True)
class RecipientSet:
    """For whom something is sealed: devices by person, this one left out."""

    me: LocalDevice
    conversation: ConversationMembers
    lists: Mapping[UUID, DeviceList]

    def addresses(self) -> Iterator[Address]:
        """Every device."""
        for person, listed in self.lists.items():
            for device in listed.devices:
                if (person, device) != (self.me.user_id, self.me.device_id):
                    yield Address(person, device)

    def registration_id(self, address: Address) -> int:
        """As the verified list has it."""
        return self.lists[address.user_id].devices[address.device_id].registration_id

    def device(self, address: Address) -> PeerDevice:
        """Which device of that number it is."""
        found = self.lists[address.user_id].device(address.device_id)
        assert found is not None
        return found

    def sent_to(self, address: Address) -> SentTo:
        """As what was sent is remembered."""
        return SentTo(address.user_id, address.device_id, hash_device(self.device(address)))

    def key_recipients(self) -> frozenset[KeyRecipient]:
        """All of them as sender keys remember them."""
        return frozenset(
            KeyRecipient(address, self.registration_id(address), hash_device(self.device(address)))
            for address in self.addresses()
        )

    def recipients_body(self, copies: Mapping[Address, Mapping[str, Any]]) -> list[dict[str, Any]]:
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

    def __init__(self, store: Store, rest: RestClient, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._peers = Peers(store)
        self._sender_keys = OwnSenderKeys(store)
        self.directory: Final = MemberDirectory(store, rest, now)
        self.pin_transfer: Final = PinTransfer(store, self.directory, now)

    async def seal(self, outgoing: Outgoing, post: Post) -> tuple[bytes | None, SentContent]:
        """The body of the post, None when there is nobody to get it, and what went to whom; everything behind it is stored.

        Sender keys are told by `post` before. Raises Refused, Unreachable, a Refusal; ListsOutdated: do it again; PinsFirst: post those that wait, and do it again.
        """
        roll = await self._resolve_recipients(outgoing)
        if roll.conversation.is_group and outgoing.lane == "mail" and not outgoing.is_pairwise:
            await self._distribute_sender_key(outgoing.conversation_id, roll, post)
            return self._seal_for_group(outgoing, roll)
        return await self._seal_pairwise(outgoing, roll)

    async def _resolve_recipients(self, outgoing: Outgoing) -> RecipientSet:
        me = LocalDevice.load(self._store)
        circle = await self.directory.get(outgoing.conversation_id)
        if circle.is_group and not set(circle.members) - {me.user_id}:
            # Where nobody else is known nothing is posted, so the node cannot say that people have come in.
            circle = await self.directory.refresh(outgoing.conversation_id)
        if outgoing.conversation_id == me.user_id:
            # Where no device is known nothing is posted, so the node cannot say that the list is outdated.
            await self.directory.device_lists.refresh(me.user_id)
        # Whoever left is not named any more: the node would know no such person, and refuse it for all.
        named = [each for each in circle.members if outgoing.people is None or each in outgoing.people]
        lists = {person: await self.directory.device_list(person) for person in dict.fromkeys((me.user_id, *named))}
        self.pin_transfer.check_order(lists[me.user_id], outgoing)
        # A list may have shown another identity key.
        changed = [person for person in named if changed_key(self._store, person) is not None]
        if changed and not circle.is_group:
            raise IdentityChanged
        return RecipientSet(me, circle, {person: each for person, each in lists.items() if person not in changed})

    async def _distribute_sender_key(self, conversation_id: UUID, roll: RecipientSet, post: Post) -> None:
        """Tell the present sender key to all who do not have it, some people at a time."""
        where = SenderKeyScope(conversation_id, roll.me.protocol_device.address)
        own = self._sender_keys.current(where, roll.key_recipients(), self._now())
        missing = {reader.address.user_id for reader in own.missing_recipients(roll.key_recipients())}
        others = sorted(missing - {roll.me.user_id})
        if not missing:
            return
        for people in list(_chunks(others, roll)) or [[]]:
            own = await self._send_sender_key(own, replace(roll, lists=_subset_lists(roll, people)), post)

    async def _send_sender_key(self, own: OwnSenderKey, roll: RecipientSet, post: Post) -> OwnSenderKey:
        where, now = own.key.where, self._now()
        content = Content(Distribution.KIND, new_id(now), now, where.conversation_id, own.key.distribution().fields())
        body, _ = await self._seal_pairwise(Outgoing.to_people(content, now, None, with_own_devices=True), roll)
        if body is not None:
            await post(body)
        own = own.with_recipients(roll.key_recipients())
        self._sender_keys.save(where.conversation_id, own)
        return own

    def _seal_for_group(self, outgoing: Outgoing, roll: RecipientSet) -> tuple[bytes | None, SentContent]:
        """One content for all."""
        copies: dict[Address, dict[str, Any]] = {
            address: {"kind": ContentType.SENDER_KEY.value} for address in roll.addresses()
        }
        sent = SentContent(outgoing.plaintext, None, tuple(map(roll.sent_to, copies)), is_group=True)
        if not copies:
            return None, sent
        own = self._sender_keys.get(outgoing.conversation_id)
        assert own is not None
        own, content = own.seal(self._with_list_fingerprint(roll, outgoing, outgoing.plaintext))
        self._sender_keys.save(outgoing.conversation_id, own)
        return _post_body(
            outgoing,
            roll,
            copies,
            {"content": encode_base64(content), "conversationVersion": roll.conversation.version},
        ), sent

    async def _seal_pairwise(self, outgoing: Outgoing, roll: RecipientSet) -> tuple[bytes | None, SentContent]:
        """A content of its own for each device."""
        # What is sealed under a sender key needs none of the sessions, and a group has many.
        with self._store.transaction():
            for address in roll.addresses():
                self._peers.match_listed(address, roll.device(address), self._now())
        bundles = await self._claim_bundles(roll)
        nothing = _empty_content(outgoing.conversation_id, self._now())
        copies: dict[Address, dict[str, Any]] = {}
        real: list[SentTo] = []
        with self._store.transaction():
            for address in roll.addresses():
                if address in bundles and bundles[address] is None:
                    continue
                plaintext = _plaintext_for(roll.sent_to(address), outgoing, roll.me)
                sealed = self._with_list_fingerprint(roll, outgoing, plaintext) if plaintext else nothing
                copies[address] = self._seal_copy(roll.me, address, sealed, bundles.get(address))
                if plaintext:
                    real.append(roll.sent_to(address))
        if outgoing.lane == "mail" and not roll.conversation.is_group and all(_is_own(each, roll) for each in copies):
            # Nobody would get it: that is no message sent.
            raise Refused(
                404, {"error_code": "NOT_FOUND", "error": "The other side has no device that it can be sealed for."}
            )
        sent = SentContent(outgoing.plaintext, outgoing.own, tuple(real), is_group=False)
        # In a group somebody may leave at any time: by the version the node tells who it was.
        version = {"conversationVersion": roll.conversation.version} if roll.conversation.is_group else {}
        return (_post_body(outgoing, roll, copies, version) if copies else None), sent

    def _seal_copy(self, me: LocalDevice, address: Address, plaintext: bytes, bundle: Bundle | None) -> dict[str, Any]:
        sessions = self._peers.sessions(address)
        if bundle is not None:
            held = self._peers.identity_key(address.user_id)
            if held not in (None, bundle.identity_key):
                raise IdentityChanged
            sessions = sessions.begin(me.protocol_device, bundle, self._now())
            if held is None:
                self._peers.save_identity(address.user_id, bundle.identity_key)
        sessions, content = sessions.seal(plaintext)
        self._peers.save_sessions(address, sessions)
        return {"kind": content[1], "content": encode_base64(content)}

    async def _claim_bundles(self, roll: RecipientSet) -> Mapping[Address, Bundle | None]:
        """Bundles for the devices with which a session has to begin; None for one that is left out, since its account's identity key did not sign it."""
        wanted: dict[UUID, list[int]] = {}
        for address in roll.addresses():
            if self._peers.sessions(address).needs_bundle(self._now()):
                wanted.setdefault(address.user_id, []).append(address.device_id)
        found: dict[Address, Bundle | None] = {}
        for person, devices in wanted.items():
            try:
                said = await self._rest.call("POST", f"/keys/{person}/claim", {"deviceIds": devices})
            except Refused as refused:
                if refused.code != "NOT_FOUND":
                    raise
                invalidate_device_list(self._store, person)
                raise ListsOutdated from None
            with self._rest.validated_response():
                bundles = [read_bundle(person, each) for each in said["bundles"]]
            for bundle in bundles:
                if bundle.address.device_id in devices:
                    found[bundle.address] = self._checked_bundle(roll, bundle)
        return found

    def _checked_bundle(self, roll: RecipientSet, bundle: Bundle) -> Bundle | None:
        """A bundle of the very device that was listed; None when it is left out, with an event. Raises IdentityChanged: the person is asked, and until then nothing is sealed for them; BadSignature in a direct conversation, ListsOutdated."""
        person, is_own = bundle.address.user_id, bundle.address.user_id == roll.me.user_id
        if is_own and bundle.identity_key != roll.me.identity.public:
            self._add_event(OwnIdentityForged(source="bundle", device_id=bundle.address.device_id))
            return None
        if self._peers.identity_key(person) not in (None, bundle.identity_key):
            with self._store.transaction():
                record_changed_key(self._store, person, bundle.identity_key)
            raise IdentityChanged
        if roll.device(bundle.address) != peer_device(bundle):
            invalidate_device_list(self._store, person)
            raise ListsOutdated
        try:
            bundle.verify()
        except Refusal:
            self._add_event(DeviceListDiffers(user_id=person, device_id=bundle.address.device_id, seen_by="node"))
            if not (is_own or roll.conversation.is_group):
                raise
            return None
        return bundle

    def _add_event(self, event: OwnIdentityForged | DeviceListDiffers) -> None:
        with self._store.transaction():
            Journal(self._store).add_once(event, self._now())

    def _with_list_fingerprint(self, roll: RecipientSet, outgoing: Outgoing, plaintext: bytes) -> bytes:
        """What is said carries the fingerprint of one's own device list, if there is room: others see whether the node shows them another one."""
        if outgoing.lane != "mail" or outgoing.kind == "receipt":
            return plaintext
        mark = roll.lists[roll.me.user_id].fingerprint(roll.me.user_id)
        said = write_object({**parse_object(plaintext), "deviceList": encode_base64(mark)})
        return said if len(said) < MAX_PADDED else plaintext


def _is_own(address: Address, roll: RecipientSet) -> bool:
    return address.user_id == roll.me.user_id


def _plaintext_for(device: SentTo, outgoing: Outgoing, me: LocalDevice) -> bytes | None:
    """None: this device has to be named, but it is not meant."""
    if outgoing.device is not None:
        is_meant = (device.user_id, device.device_id) == outgoing.device
        return outgoing.plaintext if is_meant and outgoing.device_hash in (None, device.device_hash) else None
    return outgoing.own if device.user_id == me.user_id else outgoing.plaintext


def _empty_content(conversation_id: UUID, now: int) -> bytes:
    """A content without effect: a receipt about nothing."""
    return Content("receipt", new_id(now), now, conversation_id, {"state": "delivered", "targets": []}).pack()


def _post_body(
    outgoing: Outgoing, roll: RecipientSet, copies: Mapping[Address, Mapping[str, Any]], more: Mapping[str, Any]
) -> bytes:
    head = {"messageId": str(outgoing.message_id), "conversationId": str(outgoing.conversation_id)}
    return orjson.dumps({**head, "lane": outgoing.lane, **more, "recipients": roll.recipients_body(copies)})


def _chunks(people: Sequence[UUID], roll: RecipientSet) -> Iterator[list[UUID]]:
    """People, so many at a time that their devices and one's own fit into one post."""
    chunk: list[UUID] = []
    devices = 0
    for person in people:
        more = len(roll.lists[person].devices)
        if chunk and devices + more > DEVICES_PER_POST:
            yield chunk
            chunk, devices = [], 0
        chunk.append(person)
        devices += more
    if chunk:
        yield chunk


def _subset_lists(roll: RecipientSet, people: Sequence[UUID]) -> Mapping[UUID, DeviceList]:
    return {person: roll.lists[person] for person in (roll.me.user_id, *people)}
