"""Device lists are accepted row by row, under the stored identity key; a row that does not verify becomes an event and gets nothing."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from tests.support.fake_node import FakeNode, device_row, open_fake_node
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.crypto.device_list_check import MIN_DIFFERENCE_MS
from vyry.client.crypto.device_lists import DeviceLists, KnownDevices
from vyry.client.crypto.peers import Peers, changed_key
from vyry.client.crypto.sealing import Sealing
from vyry.client.errors import Refused, Unreachable
from vyry.client.store.events import DeviceListDiffers, OwnDeviceAdded, OwnIdentityForged
from vyry.client.store.outgoing import Outgoing
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.primitives import Address


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


@pytest.fixture
async def node(ann: InboxHarness) -> AsyncIterator[tuple[FakeNode, DeviceLists]]:
    async with open_fake_node(ann.store) as (told, rest):
        yield told, DeviceLists(ann.store, rest, lambda: NOW)


@pytest.fixture
def bo() -> ProtocolDevice:
    return ProtocolDevice()


def own_device(ann: InboxHarness, number: int) -> ProtocolDevice:
    """A device of the own account: number 1 is this one."""
    made = ProtocolDevice()
    device = (
        ann.local_device.protocol_device
        if number == 1
        else replace(made.person.device, identity=ann.local_device.identity)
    )
    made.person = replace(made.person, device=replace(device, address=Address(ann.local_device.user_id, number)))
    return made


async def test_a_list_is_asked_for_once(
    ann: InboxHarness, node: tuple[FakeNode, DeviceLists], bo: ProtocolDevice
) -> None:
    told, lists = node
    told.set_device_list(bo.address.user_id, bo, second_device(bo))

    first, again = await lists.get(bo.address.user_id), await lists.get(bo.address.user_id)

    assert first == again == device_list_of(bo, second_of(first, bo))
    assert len(told.requests) == 1
    assert ann.pop_events() == []


def second_of(found: object, bo: ProtocolDevice) -> ProtocolDevice:
    """The second device of a list, compared by value."""
    made = second_device(bo)
    keys = found.devices[2]  # type: ignore[attr-defined]
    own = replace(made.person.device, registration_id=keys.registration_id)
    made.person = replace(made.person, device=replace(own, dh=replace(own.dh, public=keys.dh_key)))
    return made


@pytest.mark.parametrize("lie", ["not signed", "the key of another device", "signed by another identity"])
async def test_a_device_that_the_identity_key_did_not_sign_is_none(
    ann: InboxHarness, node: tuple[FakeNode, DeviceLists], bo: ProtocolDevice, lie: str
) -> None:
    told, lists = node
    ghost = {
        "not signed": device_row(second_device(bo), identityDhSignature=encode_base64(bytes(64))),
        "the key of another device": device_row(bo, deviceId=2),
        "signed by another identity": device_row(ProtocolDevice(), deviceId=2),
    }[lie]
    told.set_device_list(bo.address.user_id, bo, devices=[device_row(bo), ghost])

    assert await lists.get(bo.address.user_id) == device_list_of(bo)

    assert ann.pop_events() == [DeviceListDiffers(user_id=bo.address.user_id, device_id=2, seen_by="node")]


async def test_a_list_under_another_identity_is_not_taken(
    ann: InboxHarness, node: tuple[FakeNode, DeviceLists], bo: ProtocolDevice
) -> None:
    (told, lists), other = node, ProtocolDevice()
    Peers(ann.store).save_identity(bo.address.user_id, bo.person.device.identity.public)
    told.set_device_list(bo.address.user_id, other)

    assert (await lists.get(bo.address.user_id)).devices == {}

    assert [each.name for each in ann.pop_events()] == ["identityChanged"]
    assert changed_key(ann.store, bo.address.user_id) == other.person.device.identity.public
    told.set_device_list(bo.address.user_id, bo)
    assert await lists.get(bo.address.user_id) == device_list_of(bo)
    assert changed_key(ann.store, bo.address.user_id) is None


async def test_the_own_list_has_only_what_the_own_key_signed(
    ann: InboxHarness, node: tuple[FakeNode, DeviceLists]
) -> None:
    told, lists = node
    phone, ghost = own_device(ann, 1), ProtocolDevice()
    told.set_device_list(ann.local_device.user_id, phone, devices=[device_row(phone), device_row(ghost, deviceId=2)])

    assert list((await lists.get(ann.local_device.user_id)).devices) == [1]

    assert ann.pop_events() == [OwnIdentityForged(source="list", device_id=2)]


async def test_another_identity_for_the_own_account_is_told_even_without_devices(
    ann: InboxHarness, node: tuple[FakeNode, DeviceLists]
) -> None:
    (told, lists), ghost = node, ProtocolDevice()
    told.set_device_list(ann.local_device.user_id, ghost, devices=[])

    await lists.get(ann.local_device.user_id)

    assert OwnIdentityForged(source="list") in ann.pop_events()


async def test_a_new_device_of_the_own_account_is_told_with_its_name(
    ann: InboxHarness, node: tuple[FakeNode, DeviceLists]
) -> None:
    told, lists = node
    phone, laptop = own_device(ann, 1), own_device(ann, 2)
    told.set_device_list(ann.local_device.user_id, phone)
    await lists.get(ann.local_device.user_id)
    told.set_device_list(ann.local_device.user_id, phone, laptop)
    linked_at = "2027-01-15T08:00:00.000Z"
    named = {"deviceId": 2, "name": "laptop", "platform": "cli", "linkedAt": linked_at}
    told.answers["GET /devices"] = {"devices": [named], "nextCursor": None}

    assert list((await lists.refresh(ann.local_device.user_id)).devices) == [1, 2]

    added = OwnDeviceAdded(device_id=2, device_name="laptop", platform="cli", added_at=linked_at)
    assert ann.pop_events() == [added]
    await lists.refresh(ann.local_device.user_id)
    assert ann.pop_events() == []


async def test_a_node_that_hides_this_device_from_others_is_told(
    ann: InboxHarness, node: tuple[FakeNode, DeviceLists]
) -> None:
    told, lists = node
    told.set_device_list(ann.local_device.user_id, own_device(ann, 2))

    await lists.get(ann.local_device.user_id)

    assert ann.pop_events() == [DeviceListDiffers(user_id=ann.local_device.user_id, device_id=1, seen_by="peer")]


@pytest.mark.parametrize("changes", [{"devices": None}, {"devices": [{}]}, {"identityKey": 7}, {"epoch": None}])
async def test_an_answer_of_another_shape_decides_nothing(
    ann: InboxHarness, node: tuple[FakeNode, DeviceLists], bo: ProtocolDevice, changes: dict[str, Any]
) -> None:
    told, lists = node
    told.set_device_list(bo.address.user_id, bo, **changes)

    with pytest.raises(Unreachable):
        await lists.get(bo.address.user_id)

    assert ann.pop_events() == []


def test_a_list_that_its_owner_does_not_know_is_told_once_it_lasts(ann: InboxHarness, bo: ProtocolDevice) -> None:
    true, false = device_list_of(bo), device_list_of(bo, second_device(bo))
    mark = encode_base64(true.fingerprint(bo.address.user_id))
    ann.store_device_list(bo.address.user_id, false)

    assert [each.name for each in ann.receive_content(bo, make_content(text="1", deviceList=mark))] == ["message"]
    # It was fetched again, and did not change.
    ann.store_device_list(bo.address.user_id, false)
    assert [each.name for each in ann.receive_content(bo, make_content(text="2", deviceList=mark))] == ["message"]

    told = ann.receive_content(bo, make_content(text="3", deviceList=mark), at=NOW + MIN_DIFFERENCE_MS)

    assert told[0] == DeviceListDiffers(user_id=bo.address.user_id, device_id=2, seen_by="node")
    assert [each.name for each in told[1:]] == ["message"]


def test_a_list_of_before_a_change_is_no_lie(ann: InboxHarness, bo: ProtocolDevice) -> None:
    before, after = device_list_of(bo), device_list_of(bo, second_device(bo))
    old, new = (encode_base64(each.fingerprint(bo.address.user_id)) for each in (before, after))
    ann.store_device_list(bo.address.user_id, before)
    ann.store_device_list(bo.address.user_id, after)

    late = ann.receive_content(bo, make_content(text="1", deviceList=old))
    later = ann.receive_content(bo, make_content(text="2", deviceList=new), at=NOW + 2 * MIN_DIFFERENCE_MS)

    assert [each.name for each in (*late, *later)] == ["message", "message"]
    assert KnownDevices(ann.store).current(bo.address.user_id) == after


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_message_that_no_device_of_the_peer_would_get_is_not_sent(
    ann: InboxHarness, bo: ProtocolDevice, *, is_known: bool
) -> None:
    async with open_fake_node(ann.store) as (told, rest):
        told.set_conversation(CONVERSATION, ann.local_device.user_id, bo.address.user_id)
        told.set_device_list(ann.local_device.user_id, own_device(ann, 1))
        if is_known:
            told.set_device_list(bo.address.user_id, bo, devices=[], identityKey=None)

        with pytest.raises(Refused, match="NOT_FOUND"):
            await Sealing(ann.store, rest, lambda: NOW).seal(Outgoing.from_content(make_content(), NOW), lambda _: None)
