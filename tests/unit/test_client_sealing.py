"""What is sealed goes to the devices of verified lists alone: a bundle that is of another one begins no session, and newcomers are told before anything is posted for them."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.mailed_store import HERE, NOW, MailedStore, content, mailed_store, second
from tests.signal_devices import Device
from tests.told_node import ToldNode, told_node
from vyry.client.chain import text
from vyry.client.device_lists import KnownDevices
from vyry.client.events import DeviceListDiffers, OwnIdentityForged
from vyry.client.outgoing import Outgoing
from vyry.client.peers import Peers
from vyry.client.rest import Rest
from vyry.client.sealing import ListsOutdated, Sealing
from vyry.signal_protocol.keys import Bundle, PublicPrekey
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import BadSignature, IdentityChanged
from vyry.signal_protocol.sessions import Sessions


@dataclass
class Room:
    """A device that seals, and the node that it asks. `posted`: what was told before each post of a sender key."""

    ann: MailedStore
    told: ToldNode
    rest: Rest
    posted: list[list[str]]

    def claims(self, device: Device, **changes: Any) -> None:
        """The node gives this device's bundle for its number."""
        bundle = {**wire(device.kept.bundle(40)), **changes}
        self.told.answers[f"POST /keys/{device.address.user_id}/claim"] = {"bundles": [bundle]}

    async def seal(self) -> dict[str, int]:
        """A text for everybody there: how many devices get a copy, by person."""
        sealing = Sealing(self.ann.store, self.rest, lambda: NOW)
        body, _ = await sealing.seal(Outgoing.of(content(), NOW), self.post)
        return {each["userId"]: len(each["devices"]) for each in orjson.loads(body or b"{}")["recipients"]}

    async def post(self, _body: bytes) -> None:
        self.posted.append([each.name for each in self.ann.told()])

    def sessions(self, device: Device) -> Sessions:
        return Peers(self.ann.store).sessions(device.address)


def wire(bundle: Bundle) -> dict[str, Any]:
    """As a claim gives it."""

    def prekey(key: PublicPrekey) -> dict[str, Any]:
        return {"id": key.id, "key": text(key.key), "signature": text(key.signature) if key.signature else None}

    return {
        "deviceId": bundle.address.device_id,
        "registrationId": bundle.registration_id,
        "identityKey": text(bundle.identity_key),
        "identityDhKey": text(bundle.identity_dh_key),
        "identityDhSignature": text(bundle.identity_dh_signature),
        "signedPrekey": prekey(bundle.signed_prekey),
        "oneTimePrekey": prekey(bundle.one_time_prekey) if bundle.one_time_prekey else None,
        "pqPrekey": prekey(bundle.pq_prekey),
        "pqPrekeyIsLastResort": bundle.pq_is_last_resort,
    }


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[MailedStore]:
    with mailed_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def bo() -> Device:
    return Device()


def own_device(ann: MailedStore, number: int) -> Device:
    """A device of one's own account: number 1 is this one."""
    made = Device()
    device = ann.me.own if number == 1 else replace(made.person.device, identity=ann.me.identity)
    made.person = replace(made.person, device=replace(device, address=Address(ann.me.user_id, number)))
    made.kept.owner = made.person
    return made


@pytest.fixture
async def room(ann: MailedStore, bo: Device) -> AsyncIterator[Room]:
    """A direct conversation with Bo, all of it true."""
    async with told_node(ann.store) as (told, rest):
        told.conversation(HERE, ann.me.user_id, bo.address.user_id)
        told.list(ann.me.user_id, own_device(ann, 1))
        told.list(bo.address.user_id, bo)
        made = Room(ann, told, rest, [])
        made.claims(bo)
        yield made


async def test_a_bundle_of_the_listed_device_begins_a_session(room: Room, bo: Device) -> None:
    assert await room.seal() == {str(bo.address.user_id): 1}

    assert room.sessions(bo).active is not None
    assert room.ann.told() == []


async def test_a_bundle_of_another_device_than_the_listed_one_begins_no_session(room: Room, bo: Device) -> None:
    other = second(bo, 1)
    room.claims(other)

    with pytest.raises(ListsOutdated):
        await room.seal()

    assert room.sessions(bo) == Sessions()
    assert KnownDevices(room.ann.store).current(bo.address.user_id) is None


async def test_a_bundle_under_another_identity_than_the_held_one_begins_no_session(room: Room, bo: Device) -> None:
    other, held = Device(), bo.person.device.identity.public
    Peers(room.ann.store).keep_identity(bo.address.user_id, held)
    forged = wire(other.kept.bundle(40))
    room.told.answers[f"POST /keys/{bo.address.user_id}/claim"] = {"bundles": [forged]}

    with pytest.raises(IdentityChanged):
        await room.seal()

    assert [each.name for each in room.ann.told()] == ["identityChanged"]
    assert room.sessions(bo) == Sessions()
    assert Peers(room.ann.store).identity(bo.address.user_id) == held


async def test_a_bundle_that_its_identity_did_not_sign_begins_no_session(room: Room, bo: Device) -> None:
    key = wire(bo.kept.bundle(40))["signedPrekey"]
    room.claims(bo, signedPrekey={**key, "signature": text(bytes(64))})

    with pytest.raises(BadSignature):
        await room.seal()

    assert room.ann.told() == [DeviceListDiffers(user_id=bo.address.user_id, device_id=1, seen_by="node")]
    assert room.sessions(bo) == Sessions()


async def test_a_bundle_of_the_own_account_under_another_identity_gets_nothing(room: Room, bo: Device) -> None:
    me, laptop, ghost = room.ann.me.user_id, own_device(room.ann, 2), Device()
    room.told.list(me, own_device(room.ann, 1), laptop)
    forged = {**wire(ghost.kept.bundle(40)), "deviceId": 2}
    room.told.answers[f"POST /keys/{me}/claim"] = {"bundles": [forged]}

    assert await room.seal() == {str(bo.address.user_id): 1}

    assert room.ann.told() == [OwnIdentityForged(source="bundle", device_id=2)]
    assert room.sessions(laptop) == Sessions()


async def test_newcomers_of_a_group_are_told_before_anything_is_posted(room: Room, bo: Device) -> None:
    me, cy = room.ann.me.user_id, Device()
    room.ann.pin(bo.address.user_id)
    room.told.list(cy.address.user_id, cy)
    room.claims(cy)
    room.told.conversation(HERE, me, bo.address.user_id, cy.address.user_id, kind="group")

    assert await room.seal() == {str(bo.address.user_id): 1, str(cy.address.user_id): 1}

    assert room.posted == [["memberAdded"]]
