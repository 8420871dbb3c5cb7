"""Contents, sealed for exactly the current devices: pairwise, or once for a whole group under a sender key that was distributed before.

The next ratchet state is stored before a copy leaves, so no key is used twice, whatever crashes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.crypto.conversation_members import ConversationMembers, MemberDirectory
from vyry.client.crypto.device_lists import DeviceList, invalidate_device_list
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import OwnSenderKeys, Peers, changed_key, read_bundle, record_changed_key
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


#: Devices that receive a sender key in one post: it has to fit into a body.
DEVICES_PER_POST: Final = 50
PostBody = Callable[[bytes], Any]


class ListsOutdated(Exception):
    """A listed device is gone: its list was invalidated, seal again."""


@dataclass(frozen=True, slots=True)
class RecipientSet:
    """The devices by account that something is sealed for, without this one."""

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
        """The registration id in the verified list."""
        return self.lists[address.user_id].devices[address.device_id].registration_id

    def device(self, address: Address) -> PeerDevice:
        """The listed device under this address."""
        found = self.lists[address.user_id].device(address.device_id)
        assert found is not None
        return found

    def sent_to(self, address: Address) -> SentTo:
        """The device as sent contents record it."""
        return SentTo(address.user_id, address.device_id, hash_device(self.device(address)))

    def key_recipients(self) -> frozenset[KeyRecipient]:
        """All devices as sender keys record them."""
        return frozenset(
            KeyRecipient(address, self.registration_id(address), hash_device(self.device(address)))
            for address in self.addresses()
        )

    def recipients_body(self, copies: Mapping[Address, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The `recipients` of a post."""
        found: dict[UUID, list[dict[str, Any]]] = {}
        for address, copy in copies.items():
            device = {"deviceId": address.device_id, "registrationId": self.registration_id(address), **copy}
            found.setdefault(address.user_id, []).append(device)
        return [
            {"userId": str(person), "epoch": self.lists[person].epoch, "devices": devices}
            for person, devices in found.items()
        ]


class Sealing:
    """Seals outgoing contents."""

    def __init__(self, store: Store, rest: RestClient, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._peers = Peers(store)
        self._sender_keys = OwnSenderKeys(store)
        self.directory: Final = MemberDirectory(store, rest, now)
        self.pin_transfer: Final = PinTransfer(store, self.directory, now)

    async def seal(self, outgoing: Outgoing, post: PostBody) -> tuple[bytes | None, SentContent]:
        """The body of the post, None without recipients, and the record of what went to which device; the state behind it is stored.

        Sender keys are posted before, by `post`. Raises Refused, Unreachable, a Refusal; ListsOutdated: seal again; PinsPending: post pending pins and seal again.
        """
        recipients = await self._resolve_recipients(outgoing)
        if recipients.conversation.is_group and outgoing.lane == "mail" and not outgoing.is_pairwise:
            await self._distribute_sender_key(outgoing.conversation_id, recipients, post)
            return self._seal_for_group(outgoing, recipients)
        return await self._seal_pairwise(outgoing, recipients)

    async def _resolve_recipients(self, outgoing: Outgoing) -> RecipientSet:
        me = LocalDevice.load(self._store)
        conversation = await self.directory.get(outgoing.conversation_id)
        if conversation.is_group and not set(conversation.members) - {me.user_id}:
            # Without other members nothing is posted, so the node could not report new members.
            conversation = await self.directory.refresh(outgoing.conversation_id)
        if outgoing.conversation_id == me.user_id:
            # Without other devices nothing is posted, so the node could not report that the list is outdated.
            await self.directory.device_lists.refresh(me.user_id)
        # Members who left are not named: the node would refuse the whole post.
        named = [each for each in conversation.members if outgoing.people is None or each in outgoing.people]
        lists = {person: await self.directory.device_list(person) for person in dict.fromkeys((me.user_id, *named))}
        self.pin_transfer.check_order(lists[me.user_id], outgoing)
        # A fetched list may have shown a changed identity key.
        changed = [person for person in named if changed_key(self._store, person) is not None]
        if changed and not conversation.is_group:
            raise IdentityChanged
        return RecipientSet(me, conversation, {person: each for person, each in lists.items() if person not in changed})

    async def _distribute_sender_key(self, conversation_id: UUID, recipients: RecipientSet, post: PostBody) -> None:
        """Send the current sender key to all devices that do not have it, some people at a time."""
        scope = SenderKeyScope(conversation_id, recipients.me.protocol_device.address)
        own = self._sender_keys.current(scope, recipients.key_recipients(), self._now())
        missing = {reader.address.user_id for reader in own.missing_recipients(recipients.key_recipients())}
        people_without = sorted(missing - {recipients.me.user_id})
        if not missing:
            return
        for people in list(_chunks(people_without, recipients)) or [[]]:
            own = await self._send_sender_key(own, replace(recipients, lists=_subset_lists(recipients, people)), post)

    async def _send_sender_key(self, own: OwnSenderKey, recipients: RecipientSet, post: PostBody) -> OwnSenderKey:
        scope, now = own.key.where, self._now()
        content = Content(Distribution.KIND, new_id(now), now, scope.conversation_id, own.key.distribution().fields())
        body, _ = await self._seal_pairwise(Outgoing.to_people(content, now, None, with_own_devices=True), recipients)
        if body is not None:
            await post(body)
        own = own.with_recipients(recipients.key_recipients())
        self._sender_keys.save(scope.conversation_id, own)
        return own

    def _seal_for_group(self, outgoing: Outgoing, recipients: RecipientSet) -> tuple[bytes | None, SentContent]:
        """One content for all."""
        copies: dict[Address, dict[str, Any]] = {
            address: {"kind": ContentType.SENDER_KEY.value} for address in recipients.addresses()
        }
        sent = SentContent(outgoing.plaintext, None, tuple(map(recipients.sent_to, copies)), is_group=True)
        if not copies:
            return None, sent
        own = self._sender_keys.get(outgoing.conversation_id)
        assert own is not None
        own, content = own.seal(self._with_list_fingerprint(recipients, outgoing, outgoing.plaintext))
        self._sender_keys.save(outgoing.conversation_id, own)
        return _post_body(
            outgoing,
            recipients,
            copies,
            {"content": encode_base64(content), "conversationVersion": recipients.conversation.version},
        ), sent

    async def _seal_pairwise(self, outgoing: Outgoing, recipients: RecipientSet) -> tuple[bytes | None, SentContent]:
        """A separate content for each device."""
        # Only here: a message under a sender key needs no sessions, and a group has many.
        with self._store.transaction():
            for address in recipients.addresses():
                self._peers.match_listed(address, recipients.device(address), self._now())
        bundles = await self._claim_bundles(recipients)
        empty = _empty_content(outgoing.conversation_id, self._now())
        copies: dict[Address, dict[str, Any]] = {}
        sent_to: list[SentTo] = []
        with self._store.transaction():
            for address in recipients.addresses():
                if address in bundles and bundles[address] is None:
                    continue
                plaintext = _plaintext_for(recipients.sent_to(address), outgoing, recipients.me)
                sealed = self._with_list_fingerprint(recipients, outgoing, plaintext) if plaintext else empty
                copies[address] = self._seal_copy(recipients.me, address, sealed, bundles.get(address))
                if plaintext:
                    sent_to.append(recipients.sent_to(address))
        if (
            outgoing.lane == "mail"
            and not recipients.conversation.is_group
            and all(_is_own(each, recipients) for each in copies)
        ):
            # No recipient would get it: the message counts as not sent.
            raise Refused(
                404,
                {
                    "error_code": "NOT_FOUND",
                    "error": "The recipient has no device that the message can be encrypted for.",
                },
            )
        sent = SentContent(outgoing.plaintext, outgoing.own, tuple(sent_to), is_group=False)
        # A member of a group may leave at any time: the version tells the node which members are meant.
        version = {"conversationVersion": recipients.conversation.version} if recipients.conversation.is_group else {}
        return (_post_body(outgoing, recipients, copies, version) if copies else None), sent

    def _seal_copy(self, me: LocalDevice, address: Address, plaintext: bytes, bundle: Bundle | None) -> dict[str, Any]:
        sessions = self._peers.sessions(address)
        if bundle is not None:
            stored = self._peers.identity_key(address.user_id)
            sessions = sessions.begin(me.protocol_device, bundle, self._now(), identity_key=stored)
            if stored is None:
                self._peers.save_identity(address.user_id, bundle.identity_key)
        sessions, content = sessions.seal(plaintext)
        self._peers.save_sessions(address, sessions)
        return {"kind": content[1], "content": encode_base64(content)}

    async def _claim_bundles(self, recipients: RecipientSet) -> Mapping[Address, Bundle | None]:
        """Bundles for the devices that need a new session; None for a device that is left out because its account's identity key did not sign the bundle."""
        wanted: dict[UUID, list[int]] = {}
        for address in recipients.addresses():
            if self._peers.sessions(address).needs_bundle(self._now()):
                wanted.setdefault(address.user_id, []).append(address.device_id)
        found: dict[Address, Bundle | None] = {}
        for user_id, devices in wanted.items():
            try:
                response = await self._rest.call("POST", f"/keys/{user_id}/claim", {"deviceIds": devices})
            except Refused as refused:
                if refused.code != "NOT_FOUND":
                    raise
                invalidate_device_list(self._store, user_id)
                raise ListsOutdated from None
            with self._rest.validated_response():
                bundles = [read_bundle(user_id, each) for each in response["bundles"]]
            for bundle in bundles:
                if bundle.address.device_id in devices:
                    found[bundle.address] = self._checked_bundle(recipients, bundle)
        return found

    def _checked_bundle(self, recipients: RecipientSet, bundle: Bundle) -> Bundle | None:
        """A bundle of the very device that was listed; None when it is left out, with an event. Raises IdentityChanged: the user is asked, and nothing is sealed for them until then; BadSignature in a direct conversation, ListsOutdated."""
        user_id, is_own = bundle.address.user_id, bundle.address.user_id == recipients.me.user_id
        if is_own and bundle.identity_key != recipients.me.identity.public:
            self._add_event(OwnIdentityForged(source="bundle", device_id=bundle.address.device_id))
            return None
        if self._peers.identity_key(user_id) not in (None, bundle.identity_key):
            with self._store.transaction():
                record_changed_key(self._store, user_id, bundle.identity_key)
            raise IdentityChanged
        if recipients.device(bundle.address) != peer_device(bundle):
            invalidate_device_list(self._store, user_id)
            raise ListsOutdated
        try:
            bundle.verify()
        except Refusal:
            self._add_event(DeviceListDiffers(user_id=user_id, device_id=bundle.address.device_id, seen_by="node"))
            if not (is_own or recipients.conversation.is_group):
                raise
            return None
        return bundle

    def _add_event(self, event: OwnIdentityForged | DeviceListDiffers) -> None:
        with self._store.transaction():
            Journal(self._store).add_once(event, self._now())

    def _with_list_fingerprint(self, recipients: RecipientSet, outgoing: Outgoing, plaintext: bytes) -> bytes:
        """A mail content carries the fingerprint of the sender's device list, if there is space: recipients see whether the node shows them another list."""
        if outgoing.lane != "mail" or outgoing.kind == "receipt":
            return plaintext
        fingerprint = recipients.lists[recipients.me.user_id].fingerprint(recipients.me.user_id)
        extended = write_object({**parse_object(plaintext), "deviceList": encode_base64(fingerprint)})
        return extended if len(extended) < MAX_PADDED else plaintext


def _is_own(address: Address, recipients: RecipientSet) -> bool:
    return address.user_id == recipients.me.user_id


def _plaintext_for(device: SentTo, outgoing: Outgoing, me: LocalDevice) -> bytes | None:
    """The plaintext for this device; None when the device has to be named but is not meant."""
    if outgoing.device is not None:
        is_meant = (device.user_id, device.device_id) == outgoing.device
        return outgoing.plaintext if is_meant and outgoing.device_hash in (None, device.device_hash) else None
    return outgoing.own if device.user_id == me.user_id else outgoing.plaintext


def _empty_content(conversation_id: UUID, now: int) -> bytes:
    """A content without effect: a receipt without targets."""
    return Content("receipt", new_id(now), now, conversation_id, {"state": "delivered", "targets": []}).pack()


def _post_body(
    outgoing: Outgoing, recipients: RecipientSet, copies: Mapping[Address, Mapping[str, Any]], fields: Mapping[str, Any]
) -> bytes:
    head = {"messageId": str(outgoing.message_id), "conversationId": str(outgoing.conversation_id)}
    return orjson.dumps({**head, "lane": outgoing.lane, **fields, "recipients": recipients.recipients_body(copies)})


def _chunks(people: Sequence[UUID], recipients: RecipientSet) -> Iterator[list[UUID]]:
    """People in order, as many at a time as their devices and the own ones fit into one post."""
    chunk: list[UUID] = []
    devices = 0
    for person in people:
        more = len(recipients.lists[person].devices)
        if chunk and devices + more > DEVICES_PER_POST:
            yield chunk
            chunk, devices = [], 0
        chunk.append(person)
        devices += more
    if chunk:
        yield chunk


def _subset_lists(recipients: RecipientSet, people: Sequence[UUID]) -> Mapping[UUID, DeviceList]:
    return {person: recipients.lists[person] for person in (recipients.me.user_id, *people)}
