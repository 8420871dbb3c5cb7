"""What a device takes from the account's other devices: pins that overwrite nothing, and the newest decision about a key."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from vyry.client.chain import Point
from vyry.client.circles import Circles
from vyry.client.conversation_pins import ConversationPin, Pins
from vyry.client.decided import Decisions
from vyry.client.device import Me
from vyry.client.device_lists import DeviceList, KnownDevices, ListedDevice
from vyry.client.effects import Effects
from vyry.client.events import ConversationForged, Decided, Event, IdentityChanged
from vyry.client.inbox import Inbox
from vyry.client.journal import Journal
from vyry.client.names import RememberedNames
from vyry.client.outgoing import Queue, read_fields
from vyry.client.peers import Peers, changed_key, is_verified, mark_verified, note_changed
from vyry.client.pin_book import PinBook
from vyry.client.pin_handing import PinHanding, PinsFirst
from vyry.client.rest import Rest
from vyry.client.retries import Retries
from vyry.client.store import Store
from vyry.client.unsealing import Heard, Letter, Unsealed, Unsealing
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.padding import MAX_PADDED
from vyry.signal_protocol.pins import DirectPin, GroupPin, HandedPins, IdentityPin, NamePin
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
        Me.fresh(uuid4(), 1).keep(opened)
        yield opened


def events(store: Store) -> list[Event]:
    found: list[Event] = []
    journal = Journal(store)
    while (event := journal.next()) is not None:
        found.append(event)
        journal.take(event.number)
    return found


def hold(store: Store, user_id: UUID, key: bytes, *, is_verified: bool = False) -> None:
    Peers(store).keep_identity(user_id, key)
    mark_verified(store, user_id, is_verified=is_verified)


def identity(key: bytes, *, is_verified: bool = True, at: int = 7) -> IdentityPin:
    return IdentityPin(BO, key, is_verified, at)


def test_everything_pinned_comes_out_as_it_went_in(store: Store) -> None:
    given = HandedPins(
        (identity(OLD), IdentityPin(CY, NEW, is_verified=False, at=0)),
        (DirectPin(CHAT, BO),),
        (GroupPin(GROUP, tuple(sorted((BO, CY)))),),
        (NamePin("@bo", BO),),
    )
    PinBook(store).take(given, NOW)

    assert HandedPins.of(PinBook(store).held()) == given
    assert (is_verified(store, BO), is_verified(store, CY), Decisions(store).at(BO)) == (True, False, 7)
    assert Pins(store).get(CHAT) == ConversationPin(is_group=False, peer=BO)
    assert RememberedNames(store).account("@Bo") == BO
    PinBook(store).take(given, NOW)
    assert events(store) == []


def test_pins_overwrite_nothing(store: Store) -> None:
    hold(store, BO, OLD)
    Pins(store).direct(CHAT, BO)
    Pins(store).keep(GROUP, ConversationPin(is_group=True, members=(BO,)))
    RememberedNames(store).keep("@bo", BO)

    handed = HandedPins(
        (identity(NEW),), (DirectPin(CHAT, CY), DirectPin(GROUP, CY)), (), (NamePin("@bo", CY), NamePin("@cy", CY))
    )
    PinBook(store).take(handed, NOW)

    assert (Peers(store).identity(BO), changed_key(store, BO), is_verified(store, BO)) == (OLD, NEW, False)
    assert Pins(store).get(CHAT) == ConversationPin(is_group=False, peer=BO)
    assert [RememberedNames(store).account(each) for each in ("@bo", "@cy")] == [BO, CY]
    assert events(store) == [
        IdentityChanged(user_id=BO),
        ConversationForged(conversation_id=CHAT, reason="member", user_ids=(CY,)),
        ConversationForged(conversation_id=GROUP, reason="kind"),
    ]


def test_pins_that_are_older_than_a_decision_here_change_nothing(store: Store) -> None:
    hold(store, BO, NEW)
    Decisions(store).note(BO, 100)

    PinBook(store).take(HandedPins((identity(OLD, at=99),)), NOW)
    PinBook(store).take(HandedPins((identity(NEW, at=99),)), NOW)

    assert (changed_key(store, BO), is_verified(store, BO), events(store)) == (None, False, [])


def test_pins_that_follow_bring_newer_decisions_about_the_held_key(store: Store) -> None:
    hold(store, BO, OLD)

    for at in (5, 5, 4):
        PinBook(store).take(HandedPins((identity(OLD, at=at),)), NOW)
    Decisions(store).take(identity(OLD, at=5))

    assert (is_verified(store, BO), events(store)) == (True, [Decided(user_id=BO, is_verified=True)])


def test_the_own_key_is_taken_from_no_pin(store: Store) -> None:
    me = Me.of(store)

    PinBook(store).take(HandedPins((IdentityPin(me.user_id, NEW, is_verified=True, at=7),)), NOW)

    Decisions(store).note(me.user_id, NOW)
    assert (Peers(store).identity(me.user_id), Queue(store).waiting()) == (me.identity.public, [])
    with pytest.raises(BadContent):
        Decisions(store).take(IdentityPin(me.user_id, NEW, is_verified=True, at=7))


def test_a_decision_about_the_held_key_counts_until_a_newer_one_comes(store: Store) -> None:
    decisions = Decisions(store)
    hold(store, BO, OLD)

    decisions.take(identity(OLD, at=5))
    for old in (identity(OLD, is_verified=False, at=4), identity(OLD, is_verified=False, at=5), identity(NEW, at=4)):
        decisions.take(old)

    assert (is_verified(store, BO), decisions.waiting()) == (True, [])
    decisions.take(identity(OLD, is_verified=False, at=6))
    assert not is_verified(store, BO)
    assert events(store) == [Decided(user_id=BO, is_verified=True), Decided(user_id=BO, is_verified=False)]


def test_before_first_contact_the_decided_key_is_held(store: Store) -> None:
    Decisions(store).take(identity(NEW))

    assert (Peers(store).identity(BO), is_verified(store, BO)) == (NEW, True)
    assert events(store) == [Decided(user_id=BO, is_verified=True)]


def test_another_key_waits_until_it_was_seen(store: Store) -> None:
    hold(store, BO, OLD, is_verified=True)
    Decisions(store).take(identity(NEW))
    assert (Peers(store).identity(BO), events(store)) == (OLD, [])

    with store.transaction():
        note_changed(store, BO, NEW)
    Inbox(store).settle(identity(NEW), OLD)

    assert (Peers(store).identity(BO), is_verified(store, BO), changed_key(store, BO)) == (NEW, True, None)
    assert events(store) == [IdentityChanged(user_id=BO), Decided(user_id=BO, is_verified=True)]


@pytest.mark.parametrize("is_verified_there", [True, False])
def test_another_key_that_the_node_tells_is_accepted(store: Store, *, is_verified_there: bool) -> None:
    hold(store, BO, OLD, is_verified=True)
    decided = identity(NEW, is_verified=is_verified_there)
    Decisions(store).take(decided)

    Inbox(store).settle(decided, NEW)

    assert (Peers(store).identity(BO), is_verified(store, BO)) == (NEW, is_verified_there)
    assert (events(store), Decisions(store).waiting()) == ([Decided(user_id=BO, is_verified=is_verified_there)], [])


@pytest.mark.parametrize("told", [OLD, bytes([9]) * 32, None])
def test_another_key_that_the_node_does_not_tell_is_kept_as_seen(store: Store, told: bytes | None) -> None:
    hold(store, BO, OLD, is_verified=True)
    Decisions(store).take(identity(NEW))

    Inbox(store).settle(identity(NEW), told)
    Inbox(store).settle(identity(NEW), NEW)

    assert (Peers(store).identity(BO), is_verified(store, BO), changed_key(store, BO)) == (OLD, True, NEW)
    assert (events(store), Decisions(store).waiting()) == ([IdentityChanged(user_id=BO)], [])


def test_what_is_decided_here_is_newer_than_all_before_and_told_to_own_devices_alone(store: Store) -> None:
    hold(store, BO, OLD)
    Decisions(store).take(identity(OLD, is_verified=False, at=500))
    Decisions(store).take(identity(NEW, at=501))
    mark_verified(store, BO, is_verified=True)

    Decisions(store).note(BO, 3)

    [telling] = Queue(store).waiting()
    assert (telling.people, telling.lane, telling.own, telling.is_pairwise) == ((), "control", telling.plaintext, True)
    assert telling.conversation_id == Me.of(store).user_id
    assert read_fields(telling.plaintext)["sync"] == {"decided": identity(OLD, at=501).fields()}
    assert Decisions(store).waiting() == []


class Phone:
    """The other own device, on the verified own list or not."""

    def __init__(self, store: Store, *, is_listed: bool = True) -> None:
        self.store, self.me = store, Me.of(store)
        devices = {1: ListedDevice(self.me.registration_id, self.me.dh.public), **({2: PHONE} if is_listed else {})}
        KnownDevices(store).keep(self.me.user_id, DeviceList(1, self.me.identity.public, devices), NOW)

    def sync(self, said: object, conversation_id: UUID | None = None) -> None:
        """Let it take effect. Raises a Refusal."""
        where = conversation_id or self.me.user_id
        plaintext = Content("sync", uuid4(), NOW, where, {"sync": said}).pack()
        letter = Letter(Address(self.me.user_id, 2), where, uuid4(), b"", NOW)
        heard = Heard(bytes(8), PeerDevice(self.me.identity.public, PHONE.dh_key, PHONE.registration_id))
        effects = Effects(self.store, Unsealing(self.store), Retries(self.store))
        effects.take(self.me, letter, Unsealed(plaintext, heard))


def test_pins_and_decisions_come_from_listed_devices_in_the_own_conversation(store: Store) -> None:
    pins, decided = {"pins": HandedPins((identity(OLD),)).fields()}, {"decided": identity(OLD, at=8).fields()}
    attempts: list[tuple[bool, UUID | None, type[Refusal]]] = [
        (False, None, IdentityForged),
        (True, CHAT, BadContent),
    ]
    for is_listed, where, refusal in attempts:
        for said in (pins, decided):
            with pytest.raises(refusal):
                Phone(store, is_listed=is_listed).sync(said, where)
    assert Peers(store).identity(BO) is None

    Phone(store).sync(pins)
    Phone(store).sync(decided)

    assert (is_verified(store, BO), Decisions(store).at(BO)) == (True, 8)


def test_nobody_else_is_heard_in_the_conversation_of_the_account_with_itself(store: Store) -> None:
    me = replace(Me.of(store), point=Point.first(uuid4()))
    letter = Letter(Address(BO, 1), me.user_id, uuid4(), b"", NOW)

    assert isinstance(Inbox(store)._letter(me, letter), RefusedConversation)
    assert events(store) == [ConversationForged(conversation_id=me.user_id, reason="member", user_ids=(BO,))]


@pytest.mark.parametrize("said", [{"pins": []}, {"pins": {"names": [7]}}, {"decided": {}}, {"decided": None}, []])
def test_a_sync_of_another_shape_is_refused(store: Store, said: object) -> None:
    with pytest.raises(BadContent):
        Phone(store).sync(said)


@pytest.mark.parametrize("said", [{"newer": 1}, {"settings": {}}, {}])
def test_a_sync_of_a_newer_version_changes_nothing(store: Store, said: dict[str, Any]) -> None:
    Phone(store).sync(said)

    assert (events(store), Queue(store).waiting()) == ([], [])


@pytest.fixture
async def handing(store: Store) -> AsyncIterator[PinHanding]:
    """Nothing here asks the node."""
    async with aiohttp.ClientSession() as http:
        yield PinHanding(store, Circles(store, Rest(http, "http://127.0.0.1:1", store), lambda: NOW), lambda: NOW)


def people(store: Store, count: int) -> None:
    with store.transaction():
        for _ in range(count):
            Peers(store).keep_identity(uuid4(), bytes(32))
        hold(store, BO, NEW, is_verified=True)


def account(store: Store) -> Provisioning:
    me = Me.of(store)
    return Provisioning(me.user_id, me.identity, me.profile_key)


def listed_with(store: Store, *numbers: int) -> DeviceList:
    me = Me.of(store)
    new = {number: ListedDevice(number, bytes([number]) * 32) for number in numbers}
    return DeviceList(2, me.identity.public, {1: ListedDevice(me.registration_id, me.dh.public), **new})


async def test_a_new_device_is_handed_what_fits_and_gets_the_rest_first(store: Store, handing: PinHanding) -> None:
    people(store, 1_000)
    given = handing.into(account(store))
    assert MAX_PADDED - 300 < len(given.pack()) < MAX_PADDED
    assert given.pins.identities[0].user_id == BO
    Decisions(store).note(BO, NOW)

    handing.queue_due(listed_with(store, 3))

    waiting = Queue(store).waiting()
    assert [each.is_first for each in waiting] == [True, True, False]
    assert all(len(each.plaintext) < MAX_PADDED for each in waiting)
    sent = [HandedPins.read(read_fields(each.plaintext)["sync"]["pins"]) for each in waiting[:-1]]
    told = {each.user_id for part in (given.pins, *sent) for each in part.identities}
    assert len(told) == 1_001
    # Decided between the approval and the link.
    assert BO in {each.user_id for each in sent[0].identities}


async def test_nothing_else_is_sealed_for_a_new_device_before_its_pins(store: Store, handing: PinHanding) -> None:
    people(store, 1_000)
    handing.into(account(store))
    Decisions(store).note(BO, NOW)
    [decided] = Queue(store).waiting()

    handing.check(listed_with(store), decided)
    with pytest.raises(PinsFirst):
        handing.check(listed_with(store, 3), decided)

    for first in [each for each in Queue(store).waiting() if each.is_first]:
        handing.check(listed_with(store, 3), first)
        assert (first.device, first.people) == ((Me.of(store).user_id, 3), ())
        Queue(store).drop(first)
    handing.check(listed_with(store, 3), decided)


async def test_pins_follow_for_each_link_that_was_approved_and_for_no_other(store: Store, handing: PinHanding) -> None:
    people(store, 3)
    for _ in range(2):
        handing.into(account(store))
    hold(store, CY, NEW)

    for numbers in ((), (3,), (3,), (3, 4), (3, 4), (3, 4, 5)):
        handing.queue_due(listed_with(store, *numbers))

    told = [(each.device, read_fields(each.plaintext)["sync"]["pins"]) for each in Queue(store).waiting()]
    me, only_cy = Me.of(store).user_id, HandedPins((replace(identity(NEW, is_verified=False, at=0), user_id=CY),))
    assert sorted(told, key=str) == [((me, 3), only_cy.fields()), ((me, 4), only_cy.fields())]
