"""What a device accepts from the account's other devices: pins that overwrite nothing, and the newest decision about a key."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.crypto.device_lists import DeviceList, KnownDevices, ListedDevice
from vyry.client.crypto.identity_decisions import IdentityDecisions
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, changed_key, is_verified, mark_verified, record_changed_key
from vyry.client.crypto.pin_registry import PinRegistry
from vyry.client.crypto.pin_transfer import PinsPending, PinTransfer
from vyry.client.crypto.unsealing import EnvelopeOpener, IncomingEnvelope, OpenedContent, SourceSession
from vyry.client.store.conversation_pins import ConversationPin, ConversationPins
from vyry.client.store.events import ConversationForged, Decided, Event, IdentityChanged
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import MailboxPosition
from vyry.client.store.outgoing import SendQueue, read_fields
from vyry.client.store.remembered_names import RememberedNames
from vyry.client.store.store import Store
from vyry.client.sync.content_processor import ContentProcessor
from vyry.client.sync.inbox import Inbox
from vyry.client.sync.retries import Retries
from vyry.client.transport.rest import RestClient
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.frame import MAX_PADDED
from vyry.signal_protocol.pins import DirectPin, GroupPin, IdentityPin, NamePin, PinSet
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.provisioning import Provisioning
from vyry.signal_protocol.refusals import BadContent, IdentityForged, Refusal
from vyry.signal_protocol.refusals import ConversationForged as RefusedConversation
from vyry.signal_protocol.sessions import PeerDevice


BO, CY, CHAT, GROUP = uuid4(), uuid4(), uuid4(), uuid4()
OLD, NEW = bytes(32), bytes([1]) * 32
NOW = 1_800_000_000_000
PHONE = ListedDevice(11, bytes([2]) * 32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        LocalDevice.generate(uuid4(), 1).save(opened)
        yield opened


def pop_events(store: Store) -> list[Event]:
    found: list[Event] = []
    journal = Journal(store)
    while (event := journal.next_event()) is not None:
        found.append(event)
        journal.mark_handled(event.number)
    return found


def store_identity(store: Store, user_id: UUID, key: bytes, *, is_verified: bool = False) -> None:
    Peers(store).save_identity(user_id, key)
    mark_verified(store, user_id, is_verified=is_verified)


def identity(key: bytes, *, is_verified: bool = True, at: int = 7) -> IdentityPin:
    return IdentityPin(BO, key, is_verified, at)


def test_everything_pinned_comes_out_as_it_went_in(store: Store) -> None:
    given = PinSet(
        (identity(OLD), IdentityPin(CY, NEW, is_verified=False, at=0)),
        (DirectPin(CHAT, BO),),
        (GroupPin(GROUP, tuple(sorted((BO, CY)))),),
        (NamePin("@bo", BO),),
    )
    PinRegistry(store).merge(given, NOW)

    assert PinSet.from_pins(PinRegistry(store).all_pins()) == given
    assert (is_verified(store, BO), is_verified(store, CY), IdentityDecisions(store).decided_at(BO)) == (True, False, 7)
    assert ConversationPins(store).get(CHAT) == ConversationPin(is_group=False, peer=BO)
    assert RememberedNames(store).account("@Bo") == BO
    PinRegistry(store).merge(given, NOW)
    assert pop_events(store) == []


def test_pins_overwrite_nothing(store: Store) -> None:
    store_identity(store, BO, OLD)
    ConversationPins(store).pin_direct(CHAT, BO)
    ConversationPins(store).save(GROUP, ConversationPin(is_group=True, members=(BO,)))
    RememberedNames(store).save("@bo", BO)

    handed = PinSet(
        (identity(NEW),), (DirectPin(CHAT, CY), DirectPin(GROUP, CY)), (), (NamePin("@bo", CY), NamePin("@cy", CY))
    )
    PinRegistry(store).merge(handed, NOW)

    assert (Peers(store).identity_key(BO), changed_key(store, BO), is_verified(store, BO)) == (OLD, NEW, False)
    assert ConversationPins(store).get(CHAT) == ConversationPin(is_group=False, peer=BO)
    assert [RememberedNames(store).account(each) for each in ("@bo", "@cy")] == [BO, CY]
    assert pop_events(store) == [
        IdentityChanged(user_id=BO),
        ConversationForged(conversation_id=CHAT, reason="member", user_ids=(CY,)),
        ConversationForged(conversation_id=GROUP, reason="kind"),
    ]


def test_pins_that_are_older_than_a_decision_here_change_nothing(store: Store) -> None:
    store_identity(store, BO, NEW)
    IdentityDecisions(store).record_local(BO, 100)

    PinRegistry(store).merge(PinSet((identity(OLD, at=99),)), NOW)
    PinRegistry(store).merge(PinSet((identity(NEW, at=99),)), NOW)

    assert (changed_key(store, BO), is_verified(store, BO), pop_events(store)) == (None, False, [])


def test_pins_that_follow_bring_newer_decisions_about_the_held_key(store: Store) -> None:
    store_identity(store, BO, OLD)

    for at in (5, 5, 4):
        PinRegistry(store).merge(PinSet((identity(OLD, at=at),)), NOW)
    IdentityDecisions(store).apply_remote(identity(OLD, at=5))

    assert (is_verified(store, BO), pop_events(store)) == (True, [Decided(user_id=BO, is_verified=True)])


def test_the_own_key_is_taken_from_no_pin(store: Store) -> None:
    me = LocalDevice.load(store)

    PinRegistry(store).merge(PinSet((IdentityPin(me.user_id, NEW, is_verified=True, at=7),)), NOW)

    IdentityDecisions(store).record_local(me.user_id, NOW)
    assert (Peers(store).identity_key(me.user_id), SendQueue(store).pending()) == (me.identity.public, [])
    with pytest.raises(BadContent):
        IdentityDecisions(store).apply_remote(IdentityPin(me.user_id, NEW, is_verified=True, at=7))


def test_a_decision_about_the_held_key_counts_until_a_newer_one_comes(store: Store) -> None:
    decisions = IdentityDecisions(store)
    store_identity(store, BO, OLD)

    decisions.apply_remote(identity(OLD, at=5))
    for old in (identity(OLD, is_verified=False, at=4), identity(OLD, is_verified=False, at=5), identity(NEW, at=4)):
        decisions.apply_remote(old)

    assert (is_verified(store, BO), decisions.pending()) == (True, [])
    decisions.apply_remote(identity(OLD, is_verified=False, at=6))
    assert not is_verified(store, BO)
    assert pop_events(store) == [Decided(user_id=BO, is_verified=True), Decided(user_id=BO, is_verified=False)]


def test_before_first_contact_the_decided_key_is_held(store: Store) -> None:
    IdentityDecisions(store).apply_remote(identity(NEW))

    assert (Peers(store).identity_key(BO), is_verified(store, BO)) == (NEW, True)
    assert pop_events(store) == [Decided(user_id=BO, is_verified=True)]


def test_another_key_waits_until_it_was_seen(store: Store) -> None:
    store_identity(store, BO, OLD, is_verified=True)
    IdentityDecisions(store).apply_remote(identity(NEW))
    assert (Peers(store).identity_key(BO), pop_events(store)) == (OLD, [])

    with store.transaction():
        record_changed_key(store, BO, NEW)
    Inbox(store).resolve_decision(identity(NEW), OLD)

    assert (Peers(store).identity_key(BO), is_verified(store, BO), changed_key(store, BO)) == (NEW, True, None)
    assert pop_events(store) == [IdentityChanged(user_id=BO), Decided(user_id=BO, is_verified=True)]


@pytest.mark.parametrize("is_verified_there", [True, False])
def test_another_key_that_the_node_tells_is_accepted(store: Store, *, is_verified_there: bool) -> None:
    store_identity(store, BO, OLD, is_verified=True)
    decided = identity(NEW, is_verified=is_verified_there)
    IdentityDecisions(store).apply_remote(decided)

    Inbox(store).resolve_decision(decided, NEW)

    assert (Peers(store).identity_key(BO), is_verified(store, BO)) == (NEW, is_verified_there)
    assert (pop_events(store), IdentityDecisions(store).pending()) == (
        [Decided(user_id=BO, is_verified=is_verified_there)],
        [],
    )


@pytest.mark.parametrize("told", [OLD, bytes([9]) * 32, None])
def test_another_key_that_the_node_does_not_tell_is_kept_as_seen(store: Store, told: bytes | None) -> None:
    store_identity(store, BO, OLD, is_verified=True)
    IdentityDecisions(store).apply_remote(identity(NEW))

    Inbox(store).resolve_decision(identity(NEW), told)
    Inbox(store).resolve_decision(identity(NEW), NEW)

    assert (Peers(store).identity_key(BO), is_verified(store, BO), changed_key(store, BO)) == (OLD, True, NEW)
    assert (pop_events(store), IdentityDecisions(store).pending()) == ([IdentityChanged(user_id=BO)], [])


def test_what_is_decided_here_is_newer_than_all_before_and_told_to_own_devices_alone(store: Store) -> None:
    store_identity(store, BO, OLD)
    IdentityDecisions(store).apply_remote(identity(OLD, is_verified=False, at=500))
    IdentityDecisions(store).apply_remote(identity(NEW, at=501))
    mark_verified(store, BO, is_verified=True)

    IdentityDecisions(store).record_local(BO, 3)

    [telling] = SendQueue(store).pending()
    assert (telling.people, telling.lane, telling.own, telling.is_pairwise) == ((), "control", telling.plaintext, True)
    assert telling.conversation_id == LocalDevice.load(store).user_id
    assert read_fields(telling.plaintext)["sync"] == {"decided": identity(OLD, at=501).fields()}
    assert IdentityDecisions(store).pending() == []


class SiblingDevice:
    """The other own device, on the verified own list or not."""

    def __init__(self, store: Store, *, is_listed: bool = True) -> None:
        self.store, self.me = store, LocalDevice.load(store)
        devices = {1: ListedDevice(self.me.registration_id, self.me.dh.public), **({2: PHONE} if is_listed else {})}
        KnownDevices(store).record(self.me.user_id, DeviceList(1, self.me.identity.public, devices), NOW)

    def sync(self, said: object, conversation_id: UUID | None = None) -> None:
        """Process it. Raises a Refusal."""
        where = conversation_id or self.me.user_id
        plaintext = Content("sync", uuid4(), NOW, where, {"sync": said}).pack()
        letter = IncomingEnvelope(Address(self.me.user_id, 2), where, uuid4(), b"", NOW)
        heard = SourceSession(bytes(8), PeerDevice(self.me.identity.public, PHONE.dh_key, PHONE.registration_id))
        effects = ContentProcessor(self.store, EnvelopeOpener(self.store), Retries(self.store))
        effects.process(self.me, letter, OpenedContent(plaintext, heard))


def test_pins_and_decisions_come_from_listed_devices_in_the_own_conversation(store: Store) -> None:
    pins, decided = {"pins": PinSet((identity(OLD),)).fields()}, {"decided": identity(OLD, at=8).fields()}
    attempts: list[tuple[bool, UUID | None, type[Refusal]]] = [
        (False, None, IdentityForged),
        (True, CHAT, BadContent),
    ]
    for is_listed, where, refusal in attempts:
        for said in (pins, decided):
            with pytest.raises(refusal):
                SiblingDevice(store, is_listed=is_listed).sync(said, where)
    assert Peers(store).identity_key(BO) is None

    SiblingDevice(store).sync(pins)
    SiblingDevice(store).sync(decided)

    assert (is_verified(store, BO), IdentityDecisions(store).decided_at(BO)) == (True, 8)


def test_nobody_else_is_heard_in_the_conversation_of_the_account_with_itself(store: Store) -> None:
    me = replace(LocalDevice.load(store), point=MailboxPosition.initial(uuid4()))
    letter = IncomingEnvelope(Address(BO, 1), me.user_id, uuid4(), b"", NOW)

    assert isinstance(Inbox(store)._process_envelope(me, letter), RefusedConversation)
    assert pop_events(store) == [ConversationForged(conversation_id=me.user_id, reason="member", user_ids=(BO,))]


@pytest.mark.parametrize("said", [{"pins": []}, {"pins": {"names": [7]}}, {"decided": {}}, {"decided": None}, []])
def test_a_sync_of_another_shape_is_refused(store: Store, said: object) -> None:
    with pytest.raises(BadContent):
        SiblingDevice(store).sync(said)


@pytest.mark.parametrize("said", [{"newer": 1}, {"settings": {}}, {}])
def test_a_sync_of_a_newer_version_changes_nothing(store: Store, said: dict[str, Any]) -> None:
    SiblingDevice(store).sync(said)

    assert (pop_events(store), SendQueue(store).pending()) == ([], [])


@pytest.fixture
async def handing(store: Store) -> AsyncIterator[PinTransfer]:
    """A PinTransfer that never asks the node."""
    async with aiohttp.ClientSession() as http:
        yield PinTransfer(
            store, MemberDirectory(store, RestClient(http, "http://127.0.0.1:1", store), lambda: NOW), lambda: NOW
        )


def add_identities(store: Store, count: int) -> None:
    with store.transaction():
        for _ in range(count):
            Peers(store).save_identity(uuid4(), bytes(32))
        store_identity(store, BO, NEW, is_verified=True)


def account(store: Store) -> Provisioning:
    me = LocalDevice.load(store)
    return Provisioning(me.user_id, me.identity, me.profile_key)


def listed_with(store: Store, *numbers: int) -> DeviceList:
    me = LocalDevice.load(store)
    new = {number: ListedDevice(number, bytes([number]) * 32) for number in numbers}
    return DeviceList(2, me.identity.public, {1: ListedDevice(me.registration_id, me.dh.public), **new})


async def test_a_new_device_is_handed_what_fits_and_gets_the_rest_first(store: Store, handing: PinTransfer) -> None:
    add_identities(store, 1_000)
    given = handing.add_pins(account(store))
    assert MAX_PADDED - 300 < len(given.pack()) < MAX_PADDED
    assert given.pins.identities[0].user_id == BO
    IdentityDecisions(store).record_local(BO, NOW)

    handing.queue_for_new_devices(listed_with(store, 3))

    waiting = SendQueue(store).pending()
    assert [each.is_first for each in waiting] == [True, True, False]
    assert all(len(each.plaintext) < MAX_PADDED for each in waiting)
    sent = [PinSet.read(read_fields(each.plaintext)["sync"]["pins"]) for each in waiting[:-1]]
    told = {each.user_id for part in (given.pins, *sent) for each in part.identities}
    assert len(told) == 1_001
    # Decided between the approval and the link.
    assert BO in {each.user_id for each in sent[0].identities}


async def test_nothing_else_is_sealed_for_a_new_device_before_its_pins(store: Store, handing: PinTransfer) -> None:
    add_identities(store, 1_000)
    handing.add_pins(account(store))
    IdentityDecisions(store).record_local(BO, NOW)
    [decided] = SendQueue(store).pending()

    handing.check_order(listed_with(store), decided)
    with pytest.raises(PinsPending):
        handing.check_order(listed_with(store, 3), decided)

    for first in [each for each in SendQueue(store).pending() if each.is_first]:
        handing.check_order(listed_with(store, 3), first)
        assert (first.device, first.people) == ((LocalDevice.load(store).user_id, 3), ())
        SendQueue(store).delete(first)
    handing.check_order(listed_with(store, 3), decided)


async def test_pins_follow_for_each_link_that_was_approved_and_for_no_other(store: Store, handing: PinTransfer) -> None:
    add_identities(store, 3)
    for _ in range(2):
        handing.add_pins(account(store))
    store_identity(store, CY, NEW)

    for numbers in ((), (3,), (3,), (3, 4), (3, 4), (3, 4, 5)):
        handing.queue_for_new_devices(listed_with(store, *numbers))

    told = [(each.device, read_fields(each.plaintext)["sync"]["pins"]) for each in SendQueue(store).pending()]
    me, only_cy = (
        LocalDevice.load(store).user_id,
        PinSet((replace(identity(NEW, is_verified=False, at=0), user_id=CY),)),
    )
    assert sorted(told, key=str) == [((me, 3), only_cy.fields()), ((me, 4), only_cy.fields())]
