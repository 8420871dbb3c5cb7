"""Safety numbers are bound to the key that they were made of: no other key is accepted or recorded as compared."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.client_inbox import InboxHarness, open_inbox
from tests.support.fake_node import FakeNode, open_fake_node
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.api.safety import Safety
from vyry.client.crypto.peers import Peers
from vyry.client.errors import NotCompared


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


@pytest.fixture
def bo() -> ProtocolDevice:
    return ProtocolDevice()


@pytest.fixture
async def node(ann: InboxHarness, bo: ProtocolDevice) -> AsyncIterator[tuple[FakeNode, Safety]]:
    """A stored key of Bo, and a node that reports another one."""
    Peers(ann.store).save_identity(bo.address.user_id, bo.person.device.identity.public)

    async def accept(user_id: UUID, key: bytes) -> None:
        ann.inbox.accept_identity(user_id, key)

    async with open_fake_node(ann.store) as (fake_node, rest):
        fake_node.set_device_list(bo.address.user_id, ProtocolDevice())
        yield fake_node, Safety(ann.store, rest, accept)


async def test_a_key_is_accepted_by_its_own_digits_alone(
    ann: InboxHarness, node: tuple[FakeNode, Safety], bo: ProtocolDevice
) -> None:
    (_, safety), person = node, bo.address.user_id
    numbers = await safety.numbers(person)
    assert numbers.held
    assert numbers.new

    for wrong in (numbers.held, numbers.new[:-1], ""):
        with pytest.raises(NotCompared):
            await safety.accept(person, wrong)
    assert Peers(ann.store).identity_key(person) == bo.person.device.identity.public
    await safety.accept(person, f" {numbers.new[:30]} {numbers.new[30:]}")

    assert Peers(ann.store).identity_key(person) != bo.person.device.identity.public


async def test_a_key_that_was_not_shown_is_not_accepted(
    ann: InboxHarness, node: tuple[FakeNode, Safety], bo: ProtocolDevice
) -> None:
    (fake_node, safety), person = node, bo.address.user_id
    with pytest.raises(NotCompared):
        await safety.accept(person)
    await safety.numbers(person)
    fake_node.set_device_list(person, ProtocolDevice())

    with pytest.raises(NotCompared):
        await safety.accept(person)

    assert Peers(ann.store).identity_key(person) == bo.person.device.identity.public


async def test_only_the_digits_of_the_held_key_are_noted_as_compared(
    node: tuple[FakeNode, Safety], bo: ProtocolDevice
) -> None:
    (_, safety), person = node, bo.address.user_id
    numbers = await safety.numbers(person)

    with pytest.raises(NotCompared):
        await safety.verify(person, numbers.new)
    assert not safety.is_verified(person)
    await safety.verify(person, numbers.held)

    assert safety.is_verified(person)
