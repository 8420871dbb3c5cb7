"""What every doorbell promises to the node that listens to it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.listening import Heard
from vyry.adapters.in_process import InProcessDoorbell
from vyry.adapters.redis import RedisDoorbell, connect_redis
from vyry.ids import MailboxKey
from vyry.mail.routing import Doorbell, Topic


ANN, BO, CY = MailboxKey(11), MailboxKey(12), MailboxKey(1 << 62)


@dataclass
class Node:
    bell: Doorbell
    heard: Heard


@pytest.fixture(params=["in_process", "redis"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    if request.param == "in_process":
        silent = InProcessDoorbell()
        silent.listen(heard := Heard())
        yield Node(silent, heard)
        return
    async with connect_redis(request.getfixturevalue("redis_url")) as redis, asyncio.TaskGroup() as tasks:
        bell = RedisDoorbell(redis)
        bell.listen(heard := Heard())
        running = tasks.create_task(bell.run())
        assert await heard.next() == ("gap",)
        yield Node(bell, heard)
        running.cancel()


async def test_a_ring_is_heard_for_the_mailboxes_held_here_and_no_others(node: Node) -> None:
    await node.bell.hold(ANN, 1)
    await node.bell.hold(CY, 1)

    await node.bell.ring([BO])
    await node.bell.ring([ANN, BO, CY])

    assert await node.heard.next() == ("ring", {ANN, CY})


async def test_a_released_mailbox_is_not_rung_for(node: Node) -> None:
    await node.bell.hold(ANN, 1)
    await node.bell.hold(BO, 1)

    await node.bell.release(ANN, 1)
    await node.bell.ring([ANN, BO])

    assert await node.heard.next() == ("ring", {BO})


async def test_a_late_release_of_an_older_connection_releases_nothing(node: Node) -> None:
    await node.bell.hold(ANN, 1)
    await node.bell.hold(ANN, 2)
    await node.heard.next()

    await node.bell.release(ANN, 1)
    await node.bell.ring([ANN])

    assert await node.heard.next() == ("ring", {ANN})


async def test_a_newer_connection_displaces_the_older(node: Node) -> None:
    await node.bell.hold(ANN, 1)

    await node.bell.hold(ANN, 2)

    assert await node.heard.next() == ("displaced", ANN, 2)


async def test_an_older_connection_that_comes_late_is_itself_displaced(node: Node) -> None:
    await node.bell.hold(ANN, 2)

    await node.bell.hold(ANN, 1)

    assert await node.heard.next() == ("displaced", ANN, 2)


async def test_whoever_holds_an_ended_mailbox_is_displaced_by_a_number_beyond_all(node: Node) -> None:
    await node.bell.hold(ANN, 7)

    await node.bell.ended([ANN, BO])

    what, mailbox, connection = await node.heard.next()
    assert (what, mailbox) == ("displaced", ANN)
    assert isinstance(connection, int)
    assert connection > 1 << 50


async def test_a_frame_is_relayed_to_those_who_are_there_and_the_answer_names_them(node: Node) -> None:
    await node.bell.hold(ANN, 1)

    held = await node.bell.relay([ANN, BO], b"a frame")

    assert held == {ANN}
    assert await node.heard.next() == ("relay", {ANN}, b"a frame")


async def test_a_change_is_heard_by_the_node_that_tells_of_it(node: Node) -> None:
    account = uuid4()

    await node.bell.changed(Topic.PEOPLE, [account])

    assert await node.heard.next() == ("changed", Topic.PEOPLE, {account})


async def test_nobody_there_is_no_trouble(node: Node) -> None:
    assert await node.bell.relay([ANN], b"a frame") == set()

    await node.bell.ring([])
    await node.bell.ended([])
    await node.bell.release(ANN, 3)
