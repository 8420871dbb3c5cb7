"""The store of a client with a mailbox in front of it: contents of other devices come in as entries of an honest chain, and what the client tells comes out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from tests.signal_devices import Device
from vyry.client.chain import Point, digest, text
from vyry.client.conversation_pins import ConversationPin, Pins
from vyry.client.device import KeptPrekeys, Me
from vyry.client.device_lists import DeviceList, KnownDevices, ListedDevice
from vyry.client.events import Event
from vyry.client.inbox import Inbox, Taken
from vyry.client.journal import Journal
from vyry.client.publishing import Publishing
from vyry.client.store import Store
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.keys import Bundle
from vyry.signal_protocol.primitives import Address


NOW = 1_800_000_000_000
HERE = UUID(int=7)


def bundle(store: Store) -> Bundle:
    """The last resort of this device, as the node hands it out."""
    me, prekeys = Me.of(store), KeptPrekeys(store)
    newest, _ = Publishing(store).newest()
    signed, last = prekeys.signed(newest), prekeys.pq(newest, is_last_resort=True)
    assert signed
    assert last
    own = me.own
    published = (own.identity.public, own.dh.public, own.dh_signature(), signed.publish(own), None, last.publish(own))
    return Bundle(own.address, own.registration_id, *published, pq_is_last_resort=True)


def content(kind: str = "text", where: UUID = HERE, **fields: Any) -> Content:
    """A content of any kind."""
    return Content(kind, uuid4(), NOW, where, fields or {"text": "hello"})


def listed(*devices: Device) -> DeviceList:
    """A verified list of one account with these devices."""
    own = [each.person.device for each in devices]
    rows = {each.address.device_id: ListedDevice(each.registration_id, each.dh.public) for each in own}
    return DeviceList(1, own[0].identity.public, rows)


def second(device: Device, number: int = 2) -> Device:
    """Another device of the same account, with the same identity key and an identity DH key of its own."""
    other, own = Device(), device.person.device
    address = Address(own.address.user_id, number)
    other.person = replace(
        other.person, device=replace(other.person.device, identity=own.identity, address=address, registration_id=99)
    )
    other.kept.owner = other.person
    return other


@dataclass
class MailedStore:
    """`take` feeds it, `told` drains what the person is told."""

    store: Store
    inbox: Inbox = field(init=False)

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.store)

    @property
    def me(self) -> Me:
        return Me.of(self.store)

    def seal(self, sender: Device, plaintext: bytes) -> bytes:
        """As that device seals it for this one."""
        if sender.sessions.must_begin(NOW):
            sender.sessions = sender.sessions.begin(sender.person.device, bundle(self.store), NOW)
        sender.sessions, sealed = sender.sessions.seal(plaintext)
        return sealed

    def take(self, sender: Address, *sealed: bytes, where: UUID = HERE, at: int = NOW) -> Taken:
        """Envelopes of that sender, in order, on one page."""
        point = self.me.point
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
                "content": text(each),
                "postedAt": "2027-01-15T08:00:00.000Z",
            }
            entry["head"] = text(sha256(point.head + entry["seq"].to_bytes(8, "big") + digest(entry)).digest())
            entries.append(entry)
            point = point.after(entry)
        return self.inbox.take(entries, at)

    def hears(self, sender: Device, said: Content, *, where: UUID | None = None, at: int = NOW) -> list[Event]:
        """One content of that device, and what is told about it."""
        self.take(sender.address, self.seal(sender, said.pack()), where=where or said.conversation_id, at=at)
        return self.told()

    def told(self) -> list[Event]:
        """Every event since the last time."""
        journal, found = Journal(self.store), []
        while (event := journal.next()) is not None:
            found.append(event)
            journal.take(event.number)
        return found

    def knows(self, user_id: UUID, devices: DeviceList, at: int = NOW) -> None:
        """A list was fetched and verified."""
        KnownDevices(self.store).keep(user_id, devices, at)

    def pin(self, *members: UUID, is_group: bool = True, where: UUID = HERE) -> None:
        """The conversation was looked at: a group of these, or a direct one with the one."""
        pin = ConversationPin(is_group=True, members=members) if is_group else ConversationPin(False, members[0])
        Pins(self.store).keep(where, pin)


@contextmanager
def mailed_store(folder: Path) -> Iterator[MailedStore]:
    """A registered device whose mailbox is empty."""
    with Store(folder / "vyry.db", bytes(32)) as opened:
        me, _ = Publishing(opened).whole_set(Me.fresh(uuid4(), 1), NOW)
        replace(me, point=Point.first(UUID(int=1))).keep(opened)
        yield MailedStore(opened)
