"""Contents are sealed only for devices of verified lists: a bundle of another device starts no session, and new members are reported before anything is posted for them."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.client_inbox import CONVERSATION, NOW, InboxHarness, make_content, open_inbox, second_device
from tests.support.fake_node import FakeNode, open_fake_node
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.crypto.device_lists import KnownDevices
from vyry.client.crypto.peers import Peers
from vyry.client.crypto.sealing import ListsOutdated, Sealing
from vyry.client.store.events import DeviceListDiffers, OwnIdentityForged
from vyry.client.store.outgoing import Outgoing
from vyry.client.transport.rest import RestClient
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.keys import Bundle, PublicPrekey
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import BadSignature, IdentityChanged
from vyry.signal_protocol.sessions import Sessions


@dataclass
class SealingHarness:
    """A device that seals, and the node that it asks. `posted`: the events before each post of a sender key."""

    ann: InboxHarness
    events_before_post: FakeNode
    rest: RestClient
    posted: list[list[str]]

    def claims(self, device: ProtocolDevice, **changes: Any) -> None:
        """The node returns this device's bundle for its id."""
        bundle = {**wire(device.kept.bundle(40)), **changes}
        self.events_before_post.answers[f"POST /keys/{device.address.user_id}/claim"] = {"bundles": [bundle]}

    async def seal(self) -> dict[str, int]:
        """Seal a text for every member: how many devices get a copy, by account."""
        sealing = Sealing(self.ann.store, self.rest, lambda: NOW)
        body, _ = await sealing.seal(Outgoing.from_content(make_content(), NOW), self.post)
        return {each["userId"]: len(each["devices"]) for each in orjson.loads(body or b"{}")["recipients"]}

    async def post(self, _body: bytes) -> None:
        self.posted.append([each.name for each in self.ann.pop_events()])

    def sessions(self, device: ProtocolDevice) -> Sessions:
        return Peers(self.ann.store).sessions(device.address)


def wire(bundle: Bundle) -> dict[str, Any]:
    """The bundle as a claim returns it."""

    def prekey(key: PublicPrekey) -> dict[str, Any]:
        return {
            "id": key.id,
            "key": encode_base64(key.key),
            "signature": encode_base64(key.signature) if key.signature else None,
        }

    return {
        "deviceId": bundle.address.device_id,
        "registrationId": bundle.registration_id,
        "identityKey": encode_base64(bundle.identity_key),
        "identityDhKey": encode_base64(bundle.identity_dh_key),
        "identityDhSignature": encode_base64(bundle.identity_dh_signature),
        "signedPrekey": prekey(bundle.signed_prekey),
        "oneTimePrekey": prekey(bundle.one_time_prekey) if bundle.one_time_prekey else None,
        "pqPrekey": prekey(bundle.pq_prekey),
        "pqPrekeyIsLastResort": bundle.pq_is_last_resort,
    }


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


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
    made.kept.owner = made.person
    return made


@pytest.fixture
async def chat(ann: InboxHarness, bo: ProtocolDevice) -> AsyncIterator[SealingHarness]:
    """A direct conversation with Bo, reported correctly."""
    async with open_fake_node(ann.store) as (fake_node, rest):
        fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, bo.address.user_id)
        fake_node.set_device_list(ann.local_device.user_id, own_device(ann, 1))
        fake_node.set_device_list(bo.address.user_id, bo)
        made = SealingHarness(ann, fake_node, rest, [])
        made.claims(bo)
        yield made


async def test_a_bundle_of_the_listed_device_begins_a_session(chat: SealingHarness, bo: ProtocolDevice) -> None:
    assert await chat.seal() == {str(bo.address.user_id): 1}

    assert chat.sessions(bo).active is not None
    assert chat.ann.pop_events() == []


async def test_a_bundle_of_another_device_than_the_listed_one_begins_no_session(
    chat: SealingHarness, bo: ProtocolDevice
) -> None:
    other = second_device(bo, 1)
    chat.claims(other)

    with pytest.raises(ListsOutdated):
        await chat.seal()

    assert chat.sessions(bo) == Sessions()
    assert KnownDevices(chat.ann.store).current(bo.address.user_id) is None


async def test_a_bundle_under_another_identity_than_the_held_one_begins_no_session(
    chat: SealingHarness, bo: ProtocolDevice
) -> None:
    other, held = ProtocolDevice(), bo.person.device.identity.public
    Peers(chat.ann.store).save_identity(bo.address.user_id, held)
    forged = wire(other.kept.bundle(40))
    chat.events_before_post.answers[f"POST /keys/{bo.address.user_id}/claim"] = {"bundles": [forged]}

    with pytest.raises(IdentityChanged):
        await chat.seal()

    assert [each.name for each in chat.ann.pop_events()] == ["identityChanged"]
    assert chat.sessions(bo) == Sessions()
    assert Peers(chat.ann.store).identity_key(bo.address.user_id) == held


async def test_a_bundle_that_its_identity_did_not_sign_begins_no_session(
    chat: SealingHarness, bo: ProtocolDevice
) -> None:
    key = wire(bo.kept.bundle(40))["signedPrekey"]
    chat.claims(bo, signedPrekey={**key, "signature": encode_base64(bytes(64))})

    with pytest.raises(BadSignature):
        await chat.seal()

    assert chat.ann.pop_events() == [DeviceListDiffers(user_id=bo.address.user_id, device_id=1, seen_by="node")]
    assert chat.sessions(bo) == Sessions()


async def test_a_bundle_of_the_own_account_under_another_identity_gets_nothing(
    chat: SealingHarness, bo: ProtocolDevice
) -> None:
    me, laptop, ghost = chat.ann.local_device.user_id, own_device(chat.ann, 2), ProtocolDevice()
    chat.events_before_post.set_device_list(me, own_device(chat.ann, 1), laptop)
    forged = {**wire(ghost.kept.bundle(40)), "deviceId": 2}
    chat.events_before_post.answers[f"POST /keys/{me}/claim"] = {"bundles": [forged]}

    assert await chat.seal() == {str(bo.address.user_id): 1}

    assert chat.ann.pop_events() == [OwnIdentityForged(source="bundle", device_id=2)]
    assert chat.sessions(laptop) == Sessions()


async def test_newcomers_of_a_group_are_told_before_anything_is_posted(
    chat: SealingHarness, bo: ProtocolDevice
) -> None:
    me, cy = chat.ann.local_device.user_id, ProtocolDevice()
    chat.ann.pin_conversation(bo.address.user_id)
    chat.events_before_post.set_device_list(cy.address.user_id, cy)
    chat.claims(cy)
    chat.events_before_post.set_conversation(CONVERSATION, me, bo.address.user_id, cy.address.user_id, kind="group")

    assert await chat.seal() == {str(bo.address.user_id): 1, str(cy.address.user_id): 1}

    assert chat.posted == [["memberAdded"]]
