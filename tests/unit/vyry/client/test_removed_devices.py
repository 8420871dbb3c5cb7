"""A removed device, and anyone who has its keys, can write and read no longer than mail can wait, even if the node helps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.client_inbox import (
    CONVERSATION,
    NOW,
    InboxHarness,
    device_list_of,
    make_content,
    open_inbox,
    second_device,
)
from tests.support.fake_node import open_fake_node
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.crypto.conversation_members import ConversationMembers
from vyry.client.crypto.device_lists import DeviceList, DeviceLists, ListedDevice
from vyry.client.crypto.peers import LATE_DAYS, Peers, accept_identity, changed_key, record_changed_key
from vyry.client.crypto.sealing import RecipientSet
from vyry.client.store.events import DeviceListDiffers, Message, OwnIdentityForged
from vyry.client.store.store import DAY_MS
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import IdentityForged
from vyry.signal_protocol.sender_keys import OwnSenderKey, SenderKey, SenderKeyScope
from vyry.signal_protocol.sessions import Sessions


LATER = NOW + (LATE_DAYS + 1) * DAY_MS


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


@pytest.fixture
def laptop(ann: InboxHarness) -> ProtocolDevice:
    """Another device that the own identity key signed."""
    made = ProtocolDevice()
    own = replace(made.person.device, address=Address(ann.local_device.user_id, 2), identity=ann.local_device.identity)
    made.person = replace(made.person, device=own)
    return made


def own_list(ann: InboxHarness, *others: ProtocolDevice) -> DeviceList:
    mine = ListedDevice(ann.local_device.registration_id, ann.local_device.dh.public)
    return DeviceList(
        1, ann.local_device.identity.public, {1: mine, **(device_list_of(*others).devices if others else {})}
    )


def test_a_device_that_the_own_list_does_not_have_says_nothing_for_its_person(
    ann: InboxHarness, laptop: ProtocolDevice
) -> None:
    ann.store_device_list(ann.local_device.user_id, own_list(ann))
    forged = [OwnIdentityForged(source="message", device_id=2)]

    assert ann.receive_content(laptop, make_content(text="I agree.")) == forged

    ann.store_device_list(ann.local_device.user_id, own_list(ann, laptop))
    assert [each.name for each in ann.receive_content(laptop, make_content(text="I agree."))] == ["message"]


def test_an_own_device_that_was_removed_is_heard_as_long_as_mail_waits(
    ann: InboxHarness, laptop: ProtocolDevice
) -> None:
    sync = make_content("sync", sync={"read": []})
    ann.store_device_list(ann.local_device.user_id, own_list(ann, laptop))
    ann.store_device_list(ann.local_device.user_id, own_list(ann))

    assert [each.name for each in ann.receive_content(laptop, sync)] == ["read"]
    laptop.sessions = Sessions()
    assert [each.name for each in ann.receive_content(laptop, sync, at=LATER)] == ["ownIdentityForged"]


def test_a_removed_device_that_goes_on_speaking_in_a_group_is_told(ann: InboxHarness) -> None:
    bo = ProtocolDevice()
    stolen, person = second_device(bo), bo.address.user_id
    ann.pin_conversation(person)
    ann.store_device_list(person, device_list_of(bo, stolen))
    key = SenderKey.generate(SenderKeyScope(CONVERSATION, stolen.address))
    ann.receive_content(stolen, make_content("senderKey", **key.distribution().fields()))
    ann.store_device_list(person, device_list_of(bo))
    key, late = key.seal(make_content(text="late").pack())
    key, later = key.seal(make_content(text="much later").pack())

    ann.receive(stolen.address, late, at=NOW + DAY_MS)
    assert [each.text for each in ann.pop_events() if isinstance(each, Message)] == ["late"]
    ann.receive(stolen.address, later, at=LATER)

    assert DeviceListDiffers(user_id=person, device_id=2, seen_by="peer") in ann.pop_events()


def test_a_generation_ends_when_the_node_gives_number_and_registration_to_another_device(ann: InboxHarness) -> None:
    bo, other = ProtocolDevice(), ProtocolDevice()
    same = replace(other.person.device, identity=bo.person.device.identity, address=bo.address)
    other.person = replace(other.person, device=replace(same, registration_id=bo.person.device.registration_id))
    person, circle = bo.address.user_id, ConversationMembers(True, 1, (bo.address.user_id,))
    before, after = (
        RecipientSet(ann.local_device, circle, {person: device_list_of(each)}).key_recipients() for each in (bo, other)
    )

    speaker = OwnSenderKey.generate(
        SenderKeyScope(CONVERSATION, ann.local_device.protocol_device.address), NOW
    ).with_recipients(before)

    assert not speaker.needs_rotation(before, NOW)
    assert speaker.needs_rotation(after, NOW)


def test_nobody_can_be_asked_to_accept_another_key_for_the_own_account(ann: InboxHarness) -> None:
    me, other = ann.local_device.user_id, ProtocolDevice().person.device.identity.public

    record_changed_key(ann.store, me, other)
    with pytest.raises(IdentityForged):
        accept_identity(ann.store, me, other)

    assert changed_key(ann.store, me) is None
    assert Peers(ann.store).identity_key(me) == ann.local_device.identity.public
    assert ann.pop_events() == []


def named(device: ProtocolDevice, *others: ProtocolDevice) -> str:
    """How a content names the list of these devices."""
    return encode_base64(device_list_of(device, *others).fingerprint(device.address.user_id))


def test_a_device_that_the_node_adds_to_a_list_known_before_is_told(ann: InboxHarness) -> None:
    bo = ProtocolDevice()
    person, ghost = bo.address.user_id, second_device(bo)
    ann.store_device_list(person, device_list_of(bo))
    ann.store_device_list(person, device_list_of(bo, ghost))
    found = []

    # Bo knows of no other device, at each fetch by Ann.
    for minutes in range(0, 180, 10):
        at = NOW + minutes * 60_000
        found += ann.receive_content(bo, make_content(text="hello", deviceList=named(bo)), at=at)
        ann.store_device_list(person, device_list_of(bo, ghost), at)

    assert DeviceListDiffers(user_id=person, device_id=2, seen_by="node") in found


def test_mail_from_before_a_list_changed_alarms_nobody(ann: InboxHarness) -> None:
    bo = ProtocolDevice()
    person, other = bo.address.user_id, second_device(bo)
    ann.store_device_list(person, device_list_of(bo), NOW - DAY_MS)
    ann.store_device_list(person, device_list_of(bo, other), NOW)

    said = make_content(text="before", deviceList=named(bo))
    told = [
        each.name for minutes in range(0, 60, 5) for each in ann.receive_content(bo, said, at=NOW + minutes * 60_000)
    ]

    assert set(told) == {"message"}


async def test_a_removed_own_device_that_comes_again_is_told_again(ann: InboxHarness, laptop: ProtocolDevice) -> None:
    mine = ProtocolDevice()
    mine.person = replace(mine.person, device=ann.local_device.protocol_device)
    async with open_fake_node(ann.store) as (told, rest):
        lists = DeviceLists(ann.store, rest, lambda: NOW)
        for devices in ([mine], [mine, laptop], [mine], [mine, laptop]):
            told.set_device_list(ann.local_device.user_id, *devices)
            await lists.refresh(ann.local_device.user_id)

    assert [each.name for each in ann.pop_events()] == ["ownDeviceAdded"] * 2


async def test_a_letter_under_a_key_that_the_node_does_not_tell_stops_nobody_for_good(ann: InboxHarness) -> None:
    bo, thief = ProtocolDevice(), ProtocolDevice()
    thief.person = replace(thief.person, device=replace(thief.person.device, address=bo.address))
    ann.receive_content(bo, make_content())
    ann.store_device_list(bo.address.user_id, device_list_of(bo))
    assert [each.name for each in ann.receive_content(thief, make_content())] == ["identityChanged"]

    async with open_fake_node(ann.store) as (told, rest):
        told.set_device_list(bo.address.user_id, bo)
        await DeviceLists(ann.store, rest, lambda: NOW).get(bo.address.user_id)

    assert changed_key(ann.store, bo.address.user_id) is None
