"""The store of a client with a mailbox in front of it: contents of other devices come in as entries of an honest chain, and what the client tells comes out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from tests.support.protocol_devices import ProtocolDevice
from vyry.client.crypto.device_lists import DeviceList, KnownDevices, ListedDevice
from vyry.client.crypto.local_device import LocalDevice, PrekeyStore
from vyry.client.crypto.prekey_publisher import PrekeyPublisher
from vyry.client.store.conversation_pins import ConversationPin, ConversationPins
from vyry.client.store.events import Event
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import MailboxPosition, ProcessedPage, entry_digest
from vyry.client.store.store import Store
from vyry.client.sync.inbox import Inbox
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.keys import Bundle
from vyry.signal_protocol.primitives import Address


NOW = 1_800_000_000_000
CONVERSATION = UUID(int=7)


def last_resort_bundle(store: Store) -> Bundle:
    """The last resort of this device, as the node hands it out."""
    me, prekeys = LocalDevice.load(store), PrekeyStore(store)
    newest, _ = PrekeyPublisher(store).newest_signed()
    signed, last = prekeys.signed_prekey(newest), prekeys.pq_prekey(newest, is_last_resort=True)
    assert signed
    assert last
    own = me.protocol_device
    published = (own.identity.public, own.dh.public, own.dh_signature(), signed.publish(own), None, last.publish(own))
    return Bundle(own.address, own.registration_id, *published, pq_is_last_resort=True)


def make_content(kind: str = "text", where: UUID = CONVERSATION, **fields: Any) -> Content:
    """A content of any kind."""
    return Content(kind, uuid4(), NOW, where, fields or {"text": "hello"})


def device_list_of(*devices: ProtocolDevice) -> DeviceList:
    """A verified list of one account with these devices."""
    own = [each.person.device for each in devices]
    rows = {each.address.device_id: ListedDevice(each.registration_id, each.dh.public) for each in own}
    return DeviceList(1, own[0].identity.public, rows)


def second_device(device: ProtocolDevice, number: int = 2) -> ProtocolDevice:
    """Another device of the same account, with the same identity key and an identity DH key of its own."""
    other, own = ProtocolDevice(), device.person.device
    address = Address(own.address.user_id, number)
    other.person = replace(
        other.person, device=replace(other.person.device, identity=own.identity, address=address, registration_id=99)
    )
    other.kept.owner = other.person
    return other


@dataclass
class InboxHarness:
    """`take` feeds it, `told` drains what the person is told."""

    store: Store
    inbox: Inbox = field(init=False)

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.store)

    @property
    def local_device(self) -> LocalDevice:
        return LocalDevice.load(self.store)

    def seal(self, sender: ProtocolDevice, plaintext: bytes) -> bytes:
        """As that device seals it for this one."""
        if sender.sessions.needs_bundle(NOW):
            sender.sessions = sender.sessions.begin(sender.person.device, last_resort_bundle(self.store), NOW)
        sender.sessions, sealed = sender.sessions.seal(plaintext)
        return sealed

    def receive(self, sender: Address, *sealed: bytes, where: UUID = CONVERSATION, at: int = NOW) -> ProcessedPage:
        """Envelopes of that sender, in order, on one page."""
        point = self.local_device.point
        assert point is not None
        entries: list[dict[str, Any]] = []
        for each in sealed:
            entry: dict[str, Any] = {
                "seq": point.seq + 1,
                "messageId": str(uuid4()),
                "conversationId": str(where),
                "senderId": str(sender.user_id),
                "senderDeviceId": sender.device_id,
                "lane": "mail",
                "kind": each[1],
                "content": encode_base64(each),
                "postedAt": "2027-01-15T08:00:00.000Z",
            }
            entry["head"] = encode_base64(
                sha256(point.head + entry["seq"].to_bytes(8, "big") + entry_digest(entry)).digest()
            )
            entries.append(entry)
            point = point.advance(entry)
        return self.inbox.process(entries, at)

    def receive_content(
        self, sender: ProtocolDevice, said: Content, *, where: UUID | None = None, at: int = NOW
    ) -> list[Event]:
        """One content of that device, and what is told about it."""
        self.receive(sender.address, self.seal(sender, said.pack()), where=where or said.conversation_id, at=at)
        return self.pop_events()

    def pop_events(self) -> list[Event]:
        """Every event since the last time."""
        journal, found = Journal(self.store), []
        while (event := journal.next_event()) is not None:
            found.append(event)
            journal.mark_handled(event.number)
        return found

    def store_device_list(self, user_id: UUID, devices: DeviceList, at: int = NOW) -> None:
        """A list was fetched and verified."""
        KnownDevices(self.store).record(user_id, devices, at)

    def pin_conversation(self, *members: UUID, is_group: bool = True, where: UUID = CONVERSATION) -> None:
        """The conversation was looked at: a group of these, or a direct one with the one."""
        pin = ConversationPin(is_group=True, members=members) if is_group else ConversationPin(False, members[0])
        ConversationPins(self.store).save(where, pin)


@contextmanager
def open_inbox(folder: Path) -> Iterator[InboxHarness]:
    """A registered device whose mailbox is empty."""
    with Store(folder / "vyry.db", bytes(32)) as opened:
        with opened.transaction():
            me, _ = PrekeyPublisher(opened).make_key_set(LocalDevice.generate(uuid4(), 1), NOW)
            replace(me, point=MailboxPosition.initial(UUID(int=1))).save(opened)
        yield InboxHarness(opened)
