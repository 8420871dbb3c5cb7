"""A device that was removed, and whoever has it, speaks and reads no longer than mail can wait, also where the node helps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mailed_store import HERE, NOW, MailedStore, content, listed, mailed_store, second
from tests.signal_devices import Device
from vyry.client.circles import Circle
from vyry.client.device_lists import DeviceList, ListedDevice
from vyry.client.events import DeviceListDiffers, Message, OwnIdentityForged
from vyry.client.peers import LATE_DAYS, Peers, accept_identity, changed_key, note_changed
from vyry.client.sealing import Roll
from vyry.client.store import DAY
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import IdentityForged
from vyry.signal_protocol.sender_keys import SenderKey, Speaker, Where


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
