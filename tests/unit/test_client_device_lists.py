"""Device lists are taken row by row, under the identity key that is held; what does not verify is told and gets nothing."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.mailed_store import HERE, NOW, MailedStore, content, listed, mailed_store, second
from tests.signal_devices import Device
from tests.told_node import ToldNode, row, told_node
from vyry.client.chain import text
from vyry.client.device_lists import DeviceLists, KnownDevices
from vyry.client.events import DeviceListDiffers, OwnDeviceAdded, OwnIdentityForged
from vyry.client.list_witness import LASTING
from vyry.client.outgoing import Outgoing
from vyry.client.peers import Peers, changed_key
from vyry.client.refusals import Refused, Unreachable
from vyry.client.sealing import Sealing
from vyry.signal_protocol.primitives import Address


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[MailedStore]:
    with mailed_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def node(ann: MailedStore) -> AsyncIterator[tuple[ToldNode, DeviceLists]]:
    async with told_node(ann.store) as (told, rest):
        yield told, DeviceLists(ann.store, rest, lambda: NOW)


@pytest.fixture
def bo() -> Device:
    return Device()


def own_device(ann: MailedStore, number: int) -> Device:
    """A device of one's own account: number 1 is this one."""
    made = Device()
    device = ann.me.own if number == 1 else replace(made.person.device, identity=ann.me.identity)
    made.person = replace(made.person, device=replace(device, address=Address(ann.me.user_id, number)))
    return made


async def test_a_list_is_asked_for_once(ann: MailedStore, node: tuple[ToldNode, DeviceLists], bo: Device) -> None:
    told, lists = node
    told.list(bo.address.user_id, bo, second(bo))

    first, again = await lists.get(bo.address.user_id), await lists.get(bo.address.user_id)

    assert first == again == listed(bo, second_of(first, bo))
    assert len(told.asked) == 1
    assert ann.told() == []


def second_of(found: object, bo: Device) -> Device:
    """The second device as it was told, for a compare by values."""
    made = second(bo)
    keys = found.devices[2]  # type: ignore[attr-defined]
    own = replace(made.person.device, registration_id=keys.registration_id)
    made.person = replace(made.person, device=replace(own, dh=replace(own.dh, public=keys.dh_key)))
    return made


@pytest.mark.parametrize("lie", ["not signed", "the key of another device", "signed by another identity"])
async def test_a_device_that_the_identity_key_did_not_sign_is_none(
    ann: MailedStore, node: tuple[ToldNode, DeviceLists], bo: Device, lie: str
) -> None:
    told, lists = node
    ghost = {
        "not signed": row(second(bo), identityDhSignature=text(bytes(64))),
        "the key of another device": row(bo, deviceId=2),
        "signed by another identity": row(Device(), deviceId=2),
    }[lie]
    told.list(bo.address.user_id, bo, devices=[row(bo), ghost])

    assert await lists.get(bo.address.user_id) == listed(bo)

    assert ann.told() == [DeviceListDiffers(user_id=bo.address.user_id, device_id=2, seen_by="node")]


async def test_a_list_under_another_identity_is_not_taken(
    ann: MailedStore, node: tuple[ToldNode, DeviceLists], bo: Device
) -> None:
    (told, lists), other = node, Device()
    Peers(ann.store).keep_identity(bo.address.user_id, bo.person.device.identity.public)
    told.list(bo.address.user_id, other)

    assert (await lists.get(bo.address.user_id)).devices == {}

    assert [each.name for each in ann.told()] == ["identityChanged"]
    assert changed_key(ann.store, bo.address.user_id) == other.person.device.identity.public
    told.list(bo.address.user_id, bo)
    assert await lists.get(bo.address.user_id) == listed(bo)
    assert changed_key(ann.store, bo.address.user_id) is None


async def test_the_own_list_has_only_what_the_own_key_signed(
    ann: MailedStore, node: tuple[ToldNode, DeviceLists]
) -> None:
    told, lists = node
    phone, ghost = own_device(ann, 1), Device()
    told.list(ann.me.user_id, phone, devices=[row(phone), row(ghost, deviceId=2)])

    assert list((await lists.get(ann.me.user_id)).devices) == [1]

    assert ann.told() == [OwnIdentityForged(source="list", device_id=2)]


async def test_another_identity_for_the_own_account_is_told_even_without_devices(
    ann: MailedStore, node: tuple[ToldNode, DeviceLists]
) -> None:
    (told, lists), ghost = node, Device()
    told.list(ann.me.user_id, ghost, devices=[])

    await lists.get(ann.me.user_id)

    assert OwnIdentityForged(source="list") in ann.told()


async def test_a_new_device_of_the_own_account_is_told_with_its_name(
    ann: MailedStore, node: tuple[ToldNode, DeviceLists]
) -> None:
    told, lists = node
    phone, laptop = own_device(ann, 1), own_device(ann, 2)
    told.list(ann.me.user_id, phone)
    await lists.get(ann.me.user_id)
    told.list(ann.me.user_id, phone, laptop)
    linked_at = "2027-01-15T08:00:00.000Z"
    named = {"deviceId": 2, "name": "laptop", "platform": "cli", "linkedAt": linked_at}
    told.answers["GET /devices"] = {"devices": [named], "nextCursor": None}

    assert list((await lists.refresh(ann.me.user_id)).devices) == [1, 2]

    added = OwnDeviceAdded(device_id=2, device_name="laptop", platform="cli", added_at=linked_at)
    assert ann.told() == [added]
    await lists.refresh(ann.me.user_id)
    assert ann.told() == []


async def test_a_node_that_hides_this_device_from_others_is_told(
    ann: MailedStore, node: tuple[ToldNode, DeviceLists]
) -> None:
    told, lists = node
    told.list(ann.me.user_id, own_device(ann, 2))

    await lists.get(ann.me.user_id)

    assert ann.told() == [DeviceListDiffers(user_id=ann.me.user_id, device_id=1, seen_by="peer")]


@pytest.mark.parametrize("changes", [{"devices": None}, {"devices": [{}]}, {"identityKey": 7}, {"epoch": None}])
async def test_an_answer_of_another_shape_decides_nothing(
    ann: MailedStore, node: tuple[ToldNode, DeviceLists], bo: Device, changes: dict[str, Any]
) -> None:
    told, lists = node
    told.list(bo.address.user_id, bo, **changes)

    with pytest.raises(Unreachable):
        await lists.get(bo.address.user_id)

    assert ann.told() == []


def test_a_list_that_its_owner_does_not_know_is_told_once_it_lasts(ann: MailedStore, bo: Device) -> None:
    true, false = listed(bo), listed(bo, second(bo))
    mark = text(true.fingerprint(bo.address.user_id))
    ann.knows(bo.address.user_id, false)

    assert [each.name for each in ann.hears(bo, content(text="1", deviceList=mark))] == ["message"]
    # It was asked for again, and stays as it was.
    ann.knows(bo.address.user_id, false)
    assert [each.name for each in ann.hears(bo, content(text="2", deviceList=mark))] == ["message"]

    told = ann.hears(bo, content(text="3", deviceList=mark), at=NOW + LASTING)

    assert told[0] == DeviceListDiffers(user_id=bo.address.user_id, device_id=2, seen_by="node")
    assert [each.name for each in told[1:]] == ["message"]


def test_a_list_of_before_a_change_is_no_lie(ann: MailedStore, bo: Device) -> None:
    before, after = listed(bo), listed(bo, second(bo))
    old, new = (text(each.fingerprint(bo.address.user_id)) for each in (before, after))
    ann.knows(bo.address.user_id, before)
    ann.knows(bo.address.user_id, after)

    late = ann.hears(bo, content(text="1", deviceList=old))
    later = ann.hears(bo, content(text="2", deviceList=new), at=NOW + 2 * LASTING)

    assert [each.name for each in (*late, *later)] == ["message", "message"]
    assert KnownDevices(ann.store).current(bo.address.user_id) == after


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_message_that_no_device_of_the_peer_would_get_is_not_sent(
    ann: MailedStore, bo: Device, *, is_known: bool
) -> None:
    async with told_node(ann.store) as (told, rest):
        told.conversation(HERE, ann.me.user_id, bo.address.user_id)
        told.list(ann.me.user_id, own_device(ann, 1))
        if is_known:
            told.list(bo.address.user_id, bo, devices=[], identityKey=None)

        with pytest.raises(Refused, match="NOT_FOUND"):
            await Sealing(ann.store, rest, lambda: NOW).seal(Outgoing.of(content(), NOW), lambda _: None)
