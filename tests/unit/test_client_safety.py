"""Numbers are bound to the key that they were made of: no other key is accepted or noted as compared."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.mailed_store import MailedStore, mailed_store
from tests.signal_devices import Device
from tests.told_node import ToldNode, told_node
from vyry.client.peers import Peers
from vyry.client.refusals import NotCompared
from vyry.client.safety import Safety


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[MailedStore]:
    with mailed_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def bo() -> Device:
    return Device()


@pytest.fixture
async def node(ann: MailedStore, bo: Device) -> AsyncIterator[tuple[ToldNode, Safety]]:
    """Bo's key is held, and the node tells another one."""
    Peers(ann.store).keep_identity(bo.address.user_id, bo.person.device.identity.public)

    async def accept(user_id: UUID, key: bytes) -> None:
        ann.inbox.accept(user_id, key)

    async with told_node(ann.store) as (told, rest):
        told.list(bo.address.user_id, Device())
        yield told, Safety(ann.store, rest, accept)


async def test_a_key_is_accepted_by_its_own_digits_alone(
    ann: MailedStore, node: tuple[ToldNode, Safety], bo: Device
) -> None:
    (_, safety), person = node, bo.address.user_id
    numbers = await safety.numbers(person)
    assert numbers.held
    assert numbers.new

    for wrong in (numbers.held, numbers.new[:-1], ""):
        with pytest.raises(NotCompared):
            await safety.accept(person, wrong)
    assert Peers(ann.store).identity(person) == bo.person.device.identity.public
    await safety.accept(person, f" {numbers.new[:30]} {numbers.new[30:]}")

    assert Peers(ann.store).identity(person) != bo.person.device.identity.public


async def test_a_key_that_was_not_shown_is_not_accepted(
    ann: MailedStore, node: tuple[ToldNode, Safety], bo: Device
) -> None:
    (told, safety), person = node, bo.address.user_id
    with pytest.raises(NotCompared):
        await safety.accept(person)
    await safety.numbers(person)
    told.list(person, Device())

    with pytest.raises(NotCompared):
        await safety.accept(person)

    assert Peers(ann.store).identity(person) == bo.person.device.identity.public


async def test_only_the_digits_of_the_held_key_are_noted_as_compared(node: tuple[ToldNode, Safety], bo: Device) -> None:
    (_, safety), person = node, bo.address.user_id
    numbers = await safety.numbers(person)

    with pytest.raises(NotCompared):
        await safety.verify(person, numbers.new)
    assert not safety.is_verified(person)
    await safety.verify(person, numbers.held)

    assert safety.is_verified(person)
