"""A device that was removed, and whoever has it, speaks and reads no longer than mail can wait, also where the node helps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mailed_store import HERE, NOW, MailedStore, content, listed, mailed_store, second
from tests.signal_devices import Device
from tests.told_node import told_node
from vyry.client.chain import text
from vyry.client.circles import Circle
from vyry.client.device_lists import DeviceList, DeviceLists, ListedDevice
from vyry.client.events import DeviceListDiffers, Message, OwnIdentityForged
from vyry.client.peers import LATE_DAYS, Peers, accept_identity, changed_key, note_changed
from vyry.client.sealing import Roll
from vyry.client.store import DAY
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import IdentityForged
from vyry.signal_protocol.sender_keys import SenderKey, Speaker, Where
from vyry.signal_protocol.sessions import Sessions


LATER = NOW + (LATE_DAYS + 1) * DAY


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[MailedStore]:
    with mailed_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def laptop(ann: MailedStore) -> Device:
    """Another device that the own identity key signed."""
    made = Device()
    own = replace(made.person.device, address=Address(ann.me.user_id, 2), identity=ann.me.identity)
    made.person = replace(made.person, device=own)
    return made


def own_list(ann: MailedStore, *others: Device) -> DeviceList:
    mine = ListedDevice(ann.me.registration_id, ann.me.dh.public)
    return DeviceList(1, ann.me.identity.public, {1: mine, **(listed(*others).devices if others else {})})


def test_a_device_that_the_own_list_does_not_have_says_nothing_for_its_person(ann: MailedStore, laptop: Device) -> None:
    ann.knows(ann.me.user_id, own_list(ann))
    forged = [OwnIdentityForged(source="message", device_id=2)]

    assert ann.hears(laptop, content(text="I agree.")) == forged

    ann.knows(ann.me.user_id, own_list(ann, laptop))
    assert [each.name for each in ann.hears(laptop, content(text="I agree."))] == ["message"]


def test_an_own_device_that_was_removed_is_heard_as_long_as_mail_waits(ann: MailedStore, laptop: Device) -> None:
    sync = content("sync", sync={"read": []})
    ann.knows(ann.me.user_id, own_list(ann, laptop))
    ann.knows(ann.me.user_id, own_list(ann))

    assert [each.name for each in ann.hears(laptop, sync)] == ["read"]
    laptop.sessions = Sessions()
    assert [each.name for each in ann.hears(laptop, sync, at=LATER)] == ["ownIdentityForged"]


def test_a_removed_device_that_goes_on_speaking_in_a_group_is_told(ann: MailedStore) -> None:
    bo = Device()
    stolen, person = second(bo), bo.address.user_id
    ann.pin(person)
    ann.knows(person, listed(bo, stolen))
    key = SenderKey.fresh(Where(HERE, stolen.address))
    ann.hears(stolen, content("senderKey", **key.distribution().fields()))
    ann.knows(person, listed(bo))
    key, late = key.seal(content(text="late").pack())
    key, later = key.seal(content(text="much later").pack())

    ann.take(stolen.address, late, at=NOW + DAY)
    assert [each.text for each in ann.told() if isinstance(each, Message)] == ["late"]
    ann.take(stolen.address, later, at=LATER)

    assert DeviceListDiffers(user_id=person, device_id=2, seen_by="peer") in ann.told()


def test_a_generation_ends_when_the_node_gives_number_and_registration_to_another_device(ann: MailedStore) -> None:
    bo, other = Device(), Device()
    same = replace(other.person.device, identity=bo.person.device.identity, address=bo.address)
    other.person = replace(other.person, device=replace(same, registration_id=bo.person.device.registration_id))
    person, circle = bo.address.user_id, Circle(True, 1, (bo.address.user_id,))
    before, after = (Roll(ann.me, circle, {person: listed(each)}).readers() for each in (bo, other))

    speaker = Speaker.fresh(Where(HERE, ann.me.own.address), NOW).telling(before)

    assert not speaker.is_due(before, NOW)
    assert speaker.is_due(after, NOW)


def test_nobody_can_be_asked_to_accept_another_key_for_the_own_account(ann: MailedStore) -> None:
    me, other = ann.me.user_id, Device().person.device.identity.public

    note_changed(ann.store, me, other)
    with pytest.raises(IdentityForged):
        accept_identity(ann.store, me, other)

    assert changed_key(ann.store, me) is None
    assert Peers(ann.store).identity(me) == ann.me.identity.public
    assert ann.told() == []


def named(device: Device, *others: Device) -> str:
    """How a content names the list of these devices."""
    return text(listed(device, *others).fingerprint(device.address.user_id))


def test_a_device_that_the_node_adds_to_a_list_known_before_is_told(ann: MailedStore) -> None:
    bo = Device()
    person, ghost = bo.address.user_id, second(bo)
    ann.knows(person, listed(bo))
    ann.knows(person, listed(bo, ghost))
    found = []

    # Bo knows of no other device, at each look of Ann.
    for minutes in range(0, 180, 10):
        at = NOW + minutes * 60_000
        found += ann.hears(bo, content(text="hello", deviceList=named(bo)), at=at)
        ann.knows(person, listed(bo, ghost), at)

    assert DeviceListDiffers(user_id=person, device_id=2, seen_by="node") in found


def test_mail_from_before_a_list_changed_alarms_nobody(ann: MailedStore) -> None:
    bo = Device()
    person, other = bo.address.user_id, second(bo)
    ann.knows(person, listed(bo), NOW - DAY)
    ann.knows(person, listed(bo, other), NOW)

    said = content(text="before", deviceList=named(bo))
    told = [each.name for minutes in range(0, 60, 5) for each in ann.hears(bo, said, at=NOW + minutes * 60_000)]

    assert set(told) == {"message"}


async def test_a_removed_own_device_that_comes_again_is_told_again(ann: MailedStore, laptop: Device) -> None:
    mine = Device()
    mine.person = replace(mine.person, device=ann.me.own)
    async with told_node(ann.store) as (told, rest):
        lists = DeviceLists(ann.store, rest, lambda: NOW)
        for devices in ([mine], [mine, laptop], [mine], [mine, laptop]):
            told.list(ann.me.user_id, *devices)
            await lists.refresh(ann.me.user_id)

    assert [each.name for each in ann.told()] == ["ownDeviceAdded"] * 2


async def test_a_letter_under_a_key_that_the_node_does_not_tell_stops_nobody_for_good(ann: MailedStore) -> None:
    bo, thief = Device(), Device()
    thief.person = replace(thief.person, device=replace(thief.person.device, address=bo.address))
    ann.hears(bo, content())
    ann.knows(bo.address.user_id, listed(bo))
    assert [each.name for each in ann.hears(thief, content())] == ["identityChanged"]

    async with told_node(ann.store) as (told, rest):
        told.list(bo.address.user_id, bo)
        await DeviceLists(ann.store, rest, lambda: NOW).get(bo.address.user_id)

    assert changed_key(ann.store, bo.address.user_id) is None
