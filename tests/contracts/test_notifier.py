"""What every notifier promises to its listener."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.support.recording_listener import RecordingListener
from vyry.in_process.routing import InProcessNotifier
from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import CacheTopic, NodeSockets, Notifier
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.notifier import RedisNotifier


ANN, BO, CY = MailboxKey(11), MailboxKey(12), MailboxKey(1 << 62)


@dataclass
class Node:
    bell: Notifier
    heard: RecordingListener


@pytest.fixture(params=["in_process", "redis"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    if request.param == "in_process":
        yield Node(InProcessNotifier(NodeSockets(heard := RecordingListener())), heard)
        return
    async with connect_redis(request.getfixturevalue("redis_url")) as redis, asyncio.TaskGroup() as tasks:
        bell = RedisNotifier(RedisGuard(redis), sockets=NodeSockets(heard := RecordingListener()))
        running = tasks.create_task(bell.run())
        assert await heard.next_event() == ("gap",)
        yield Node(bell, heard)
        running.cancel()


async def test_a_ring_is_heard_for_the_mailboxes_held_here_and_no_others(node: Node) -> None:
    await node.bell.register_socket(ANN, 1)
    await node.bell.register_socket(CY, 1)

    await node.bell.notify([BO])
    await node.bell.notify([ANN, BO, CY])

    assert await node.heard.next_event() == ("notify", {ANN, CY})


async def test_a_released_mailbox_is_not_rung_for(node: Node) -> None:
    await node.bell.register_socket(ANN, 1)
    await node.bell.register_socket(BO, 1)

    await node.bell.unregister_socket(ANN, 1)
    await node.bell.notify([ANN, BO])

    assert await node.heard.next_event() == ("notify", {BO})


async def test_a_late_release_of_an_older_connection_releases_nothing(node: Node) -> None:
    await node.bell.register_socket(ANN, 1)
    await node.bell.register_socket(ANN, 2)
    await node.heard.next_event()

    await node.bell.unregister_socket(ANN, 1)
    await node.bell.notify([ANN])

    assert await node.heard.next_event() == ("notify", {ANN})


async def test_a_newer_connection_displaces_the_older(node: Node) -> None:
    await node.bell.register_socket(ANN, 1)

    await node.bell.register_socket(ANN, 2)

    assert await node.heard.next_event() == ("displaced", ANN, 2)


async def test_an_older_connection_that_comes_late_is_itself_displaced(node: Node) -> None:
    await node.bell.register_socket(ANN, 2)

    await node.bell.register_socket(ANN, 1)

    assert await node.heard.next_event() == ("displaced", ANN, 2)


async def test_whoever_holds_an_ended_mailbox_is_displaced_by_a_number_beyond_all(node: Node) -> None:
    await node.bell.register_socket(ANN, 7)

    await node.bell.close_sockets([ANN, BO])

    what, mailbox, connection = await node.heard.next_event()
    assert (what, mailbox) == ("displaced", ANN)
    assert isinstance(connection, int)
    assert connection > 1 << 50


async def test_a_frame_is_relayed_to_those_who_are_there_and_the_answer_names_them(node: Node) -> None:
    await node.bell.register_socket(ANN, 1)

    held = await node.bell.relay([ANN, BO], b"a frame")

    assert held == {ANN}
    assert await node.heard.next_event() == ("relay", {ANN}, b"a frame")


async def test_a_change_is_heard_by_the_node_that_tells_of_it(node: Node) -> None:
    account = uuid4()

    await node.bell.invalidate(CacheTopic.ACCOUNTS, [account])

    assert await node.heard.next_event() == ("changed", CacheTopic.ACCOUNTS, {account})


async def test_nobody_there_is_no_trouble(node: Node) -> None:
    assert await node.bell.relay([ANN], b"a frame") == set()

    await node.bell.notify([])
    await node.bell.close_sockets([])
    await node.bell.unregister_socket(ANN, 3)
