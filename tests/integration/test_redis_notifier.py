"""The notifier between nodes, also with a Redis that restarts, stalls or is down."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from tests.support.recording_listener import RecordingListener
from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import CacheTopic, NodeSockets
from vyry.redis import notifier as redis_module
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.notifier import RedisNotifier


ANN, BO = MailboxKey(11), MailboxKey(12)


@dataclass
class Node:
    bell: RedisNotifier
    heard: RecordingListener


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Node]:
    async with connect_redis(url) as redis, asyncio.TaskGroup() as tasks:
        bell = RedisNotifier(RedisGuard(redis), sockets=NodeSockets(heard := RecordingListener()))
        running = tasks.create_task(bell.run())
        yield Node(bell, heard)
        running.cancel()


@pytest.fixture
async def nodes(redis_url: str) -> AsyncIterator[tuple[Node, Node]]:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(listening(redis_url))
        there = await stack.enter_async_context(listening(redis_url))
        assert await here.heard.next_event() == await there.heard.next_event() == ("gap",)
        yield here, there


async def test_a_ring_reaches_the_node_that_holds_the_socket(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await there.bell.register_socket(ANN, 1)

    await here.bell.notify([ANN, BO])

    assert await there.heard.next_event() == ("notify", {ANN})


async def test_six_hundred_rings_go_out_together(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    mailboxes = {MailboxKey(number) for number in range(1, 601)}
    for mailbox in mailboxes:
        await there.bell.register_socket(mailbox, 1)

    await here.bell.notify(mailboxes)

    rung = [await there.heard.next_event(), await there.heard.next_event()]
    assert {mailbox for _, part in rung for mailbox in part} == mailboxes  # type: ignore[attr-defined]  # an event is a tuple of anything


async def test_a_storm_of_hellos_is_announced_whole(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    mailboxes = {MailboxKey(number) for number in range(1, 401)}

    await asyncio.gather(*(there.bell.register_socket(mailbox, 1) for mailbox in mailboxes))
    await here.bell.notify(mailboxes)

    assert await there.heard.next_event() == ("notify", mailboxes)


async def test_a_socket_that_comes_back_elsewhere_displaces_the_older(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await there.bell.register_socket(ANN, 1)

    await here.bell.register_socket(ANN, 2)

    assert await there.heard.next_event() == ("displaced", ANN, 2)
    await there.bell.notify([ANN])
    assert await here.heard.next_event() == ("notify", {ANN})


async def test_a_hello_that_was_overtaken_elsewhere_is_displaced(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await there.bell.register_socket(ANN, 2)

    await here.bell.register_socket(ANN, 1)

    assert await here.heard.next_event() == ("displaced", ANN, 2)


async def test_an_ended_device_loses_its_socket_on_another_node(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await there.bell.register_socket(ANN, 1)

    await here.bell.close_sockets([ANN])

    assert (await there.heard.next_event())[:2] == ("displaced", ANN)


async def test_a_frame_is_relayed_to_another_node(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await there.bell.register_socket(ANN, 1)

    held = await here.bell.relay([ANN, BO], b"\x00frame")

    assert held == {ANN}
    assert await there.heard.next_event() == ("relay", {ANN}, b"\x00frame")


async def test_a_change_is_told_to_all_nodes(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    conversations = {uuid4(), uuid4()}

    await here.bell.invalidate(CacheTopic.CONVERSATIONS, conversations)

    for node in (here, there):
        assert await node.heard.next_event() == ("changed", CacheTopic.CONVERSATIONS, conversations)


async def test_a_redis_that_forgot_everything_is_told_again(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_module, "CHECK_SECONDS", 0.1)
    async with listening(redis_url) as here, listening(redis_url) as there, Redis.from_url(redis_url) as redis:
        await there.heard.next_event()
        await there.bell.register_socket(ANN, 1)

        await redis.flushall()
        await there.bell.register_socket(BO, 1)

        assert await there.heard.next_event() == ("gap",)
        await here.bell.notify([ANN, BO])
        assert await there.heard.next_event() == ("notify", {ANN, BO})


async def test_connections_that_were_cut_come_back_and_a_gap_is_told(nodes: tuple[Node, Node], redis_url: str) -> None:
    here, there = nodes
    await there.bell.register_socket(ANN, 1)

    async with Redis.from_url(redis_url) as redis:
        await redis.client_kill_filter(_type="pubsub")

    assert await there.heard.next_event() == ("gap",)
    await here.bell.notify([ANN])
    assert await there.heard.next_event() == ("notify", {ANN})


async def test_a_stalled_redis_holds_nobody_up_and_rings_come_late(nodes: tuple[Node, Node], redis_url: str) -> None:
    here, there = nodes
    await there.bell.register_socket(ANN, 1)
    began = time.monotonic()
    async with Redis.from_url(redis_url) as redis:
        await redis.client_pause(3000)

    await here.bell.notify([ANN])
    await here.bell.register_socket(BO, 1)
    held = await here.bell.relay([ANN], b"frame")

    assert held == set()
    assert time.monotonic() - began < 3.0
    assert await there.heard.next_event() == ("notify", {ANN})


async def test_hints_are_in_doubt_while_redis_stalls_and_a_little_longer(
    nodes: tuple[Node, Node], redis_url: str
) -> None:
    bell = nodes[0].bell
    await wait_for(lambda: not bell.is_in_doubt, 5)
    async with Redis.from_url(redis_url) as redis:
        await redis.client_pause(2000)

    noticed = await wait_for(lambda: bell.is_in_doubt, 5)
    settled = await wait_for(lambda: not bell.is_in_doubt, 10)

    assert noticed < 0.7
    assert 2.0 + redis_module.SETTLE_SECONDS < noticed + settled < 6


async def test_a_channel_that_is_silently_dead_puts_hints_in_doubt_within_a_second(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = nodes[0].bell
    await wait_for(lambda: not bell.is_in_doubt, 5)

    async def swallow(*_: object, **__: object) -> None:
        """A ping that is lost on the way."""

    monkeypatch.setattr(PubSub, "ping", swallow)

    assert await wait_for(lambda: bell.is_in_doubt, 5) < 1.0


async def test_forgotten_mailboxes_are_announced_within_a_second(nodes: tuple[Node, Node], redis_url: str) -> None:
    _, there = nodes
    await there.bell.register_socket(ANN, 1)
    began = time.monotonic()

    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    assert await there.heard.next_event() == ("gap",)

    assert time.monotonic() - began < 0.8


async def wait_for(claim: Callable[[], bool], seconds: float) -> float:
    """Wait until this is true; returns how long it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not claim():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_hello_during_a_stall_is_announced_when_redis_is_back(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_module, "CHECK_SECONDS", 0.2)
    # No lease is renewed while this test runs: what is announced was said for the hello itself.
    monkeypatch.setattr(redis_module, "CHECKS_PER_REFRESH", 1_000_000)
    async with listening(redis_url) as here, listening(redis_url) as there, Redis.from_url(redis_url) as redis:
        await there.heard.next_event()
        await redis.client_pause(1500, all=False)
        await there.bell.register_socket(ANN, 1)

        async with asyncio.timeout(10):
            while not await redis.exists(f"vyry:where:{ANN}"):  # noqa: ASYNC110 - Redis has no event for it
                await asyncio.sleep(0.05)
        await here.bell.notify([ANN])

        assert await there.heard.next_event() == ("notify", {ANN})


async def test_without_redis_everything_returns_within_a_second(unused_port: int) -> None:
    async with listening(f"redis://127.0.0.1:{unused_port}") as node:
        began = time.monotonic()

        await node.bell.register_socket(ANN, 1)
        await node.bell.notify([ANN, BO])
        held = await node.bell.relay([ANN, BO], b"frame")
        await node.bell.unregister_socket(ANN, 1)

        assert held == {ANN}
        assert time.monotonic() - began < 1.5


@pytest.fixture
def unused_port() -> int:
    """A port nobody listens on: it was free just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
