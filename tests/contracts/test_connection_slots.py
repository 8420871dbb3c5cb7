"""Places of sockets: exact on one node, shared between nodes, and never lost to a crash."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from vyry.errors import LimitPolicy, RateLimited, Unavailable
from vyry.kernel.ids import MailboxKey, UserId, new_id
from vyry.limits import QUOTAS
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys
from vyry.redis.slots import RedisConnectionSlots
from vyry.signals.socket_quotas import ConnectionSlot, ConnectionSlots


HOME = "198.51.100.7"


class SocketNode:
    """One node, and the sockets that were opened on it."""

    def __init__(self, shared: RedisConnectionSlots | None, *, most: int = 1000, is_on: bool = True) -> None:
        self.shared = shared
        self.places = ConnectionSlots(QUOTAS, shared=shared, max_sockets=most, has_limits=is_on)
        self.open: dict[ConnectionSlot, AsyncExitStack] = {}

    async def dial(self, user: UserId, mailbox: int, address: str = HOME) -> ConnectionSlot:
        """Open a socket without hello."""
        stack = AsyncExitStack()
        place = await stack.enter_async_context(self.places.acquire(user, MailboxKey(mailbox), address))
        self.open[place] = stack
        return place

    async def live(self, user: UserId, mailbox: int, address: str = HOME) -> ConnectionSlot:
        """Open a socket and say hello."""
        place = await self.dial(user, mailbox, address)
        await self.places.assign_to_device(place, MailboxKey(mailbox))
        return place

    async def hang_up(self, place: ConnectionSlot, *, is_taken_over: bool = False) -> None:
        place.is_owned_elsewhere = is_taken_over
        await self.open.pop(place).aclose()

    async def slots_left(self, user: UserId, address: str = HOME) -> list[int]:
        return [grant.remaining for _, grant in await self.places.remaining(user, address)]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect_redis(redis_url) as opened:
        yield opened


@pytest.fixture
def nodes(redis: Redis) -> tuple[SocketNode, SocketNode]:
    keys = RedisLimitKeys(b"one")
    return SocketNode(RedisConnectionSlots(RedisGuard(redis), keys)), SocketNode(
        RedisConnectionSlots(RedisGuard(redis), keys)
    )


@pytest.fixture
def ann() -> UserId:
    return UserId(new_id())


async def test_a_seventh_socket_of_an_account_is_refused_on_whichever_node(
    nodes: tuple[SocketNode, SocketNode], ann: UserId
) -> None:
    for mailbox, node in zip(range(6), itertools.cycle(nodes), strict=False):
        await node.dial(ann, mailbox)

    for node in nodes:
        with pytest.raises(RateLimited) as refused:
            await node.dial(ann, 7)
        assert refused.value.policy == LimitPolicy("sockets_account", 6, 0)
    assert [await node.slots_left(ann) for node in nodes] == [[0, 44]] * 2


async def test_a_device_comes_back_though_all_places_are_taken(
    nodes: tuple[SocketNode, SocketNode], ann: UserId
) -> None:
    one, other = nodes
    older = [await one.live(ann, mailbox) for mailbox in range(6)]

    for _ in range(3):
        newer = await other.live(ann, 3)
        await one.hang_up(older[3], is_taken_over=True)
        older[3] = await one.live(ann, 3)
        await other.hang_up(newer, is_taken_over=True)

    assert await one.slots_left(ann) == [0, 44]
    with pytest.raises(RateLimited):
        await other.dial(ann, 7)


async def test_who_says_no_hello_holds_places_of_the_account(nodes: tuple[SocketNode, SocketNode], ann: UserId) -> None:
    one, other = nodes
    await one.live(ann, 1)
    for _ in range(6):
        await one.dial(ann, 1)

    with pytest.raises(RateLimited):
        await other.dial(ann, 1)


async def test_a_place_that_was_left_is_free_on_all_nodes(nodes: tuple[SocketNode, SocketNode], ann: UserId) -> None:
    one, other = nodes
    places = [await one.dial(ann, mailbox) for mailbox in range(6)]
    await one.places.assign_to_device(places[0], MailboxKey(0))

    for place in places:
        await one.hang_up(place)

    assert await other.slots_left(ann) == [6, 50]
    for mailbox in range(6):
        await other.dial(ann, mailbox)


async def test_an_address_has_fifty_sockets_and_an_ipv6_network_counts_as_one(
    nodes: tuple[SocketNode, SocketNode],
) -> None:
    one, other = nodes
    for number in range(50):
        await nodes[number % 2].live(UserId(new_id()), number, f"2001:db8::{number:x}")

    with pytest.raises(RateLimited) as refused:
        await one.dial(UserId(new_id()), 51, "2001:db8::ffff")
    await other.dial(UserId(new_id()), 52, "2001:db8:0:1::1")

    assert refused.value.policy == LimitPolicy("sockets_address", 50, 0)


async def test_of_a_hundred_at_once_on_two_nodes_no_more_than_six_get_in(
    nodes: tuple[SocketNode, SocketNode], ann: UserId
) -> None:
    tries = [nodes[number % 2].dial(ann, number) for number in range(100)]

    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(isinstance(outcome, ConnectionSlot) for outcome in outcomes) <= 6
    assert all(isinstance(outcome, ConnectionSlot | RateLimited) for outcome in outcomes)


async def test_the_places_of_a_dead_node_become_free_and_those_of_a_living_one_stay(redis: Redis, ann: UserId) -> None:
    keys = RedisLimitKeys(b"one")
    dead = SocketNode(RedisConnectionSlots(RedisGuard(redis), keys, lease_seconds=0.4))
    alive = SocketNode(RedisConnectionSlots(RedisGuard(redis), keys, lease_seconds=0.4))
    for mailbox in range(3):
        await dead.live(ann, mailbox)
        await alive.live(ann, 10 + mailbox)
    assert alive.shared is not None

    for _ in range(3):
        await asyncio.sleep(0.2)
        await alive.shared.renew(alive.places.device_slots())

    assert (
        await dead.slots_left(ann),
        await SocketNode(RedisConnectionSlots(RedisGuard(redis), keys)).slots_left(ann),
    ) == (
        [3, 47],
        [3, 47],
    )


async def test_after_redis_forgot_everything_renewing_tells_it_again(
    nodes: tuple[SocketNode, SocketNode], redis: Redis, ann: UserId
) -> None:
    one, other = nodes
    for mailbox in range(6):
        await one.live(ann, mailbox)
    await redis.flushall()
    assert one.shared is not None

    await one.shared.renew(one.places.device_slots())

    with pytest.raises(RateLimited):
        await other.dial(ann, 7)


@pytest.mark.parametrize("redis_is", ["none", "away"])
async def test_without_redis_a_node_counts_exactly(redis_is: str, ann: UserId) -> None:
    async with connect_redis("redis://127.0.0.1:1") as nothing:
        node = SocketNode(None if redis_is == "none" else RedisConnectionSlots(RedisGuard(nothing), RedisLimitKeys()))
        live = [await node.live(ann, mailbox) for mailbox in range(6)]

        with pytest.raises(RateLimited):
            await node.dial(ann, 7)
        again = await node.live(ann, 3)
        await node.hang_up(live[3])
        await node.hang_up(again)

        assert await node.slots_left(ann) == [1, 45]


async def test_a_full_node_takes_nobody(ann: UserId) -> None:
    node = SocketNode(None, most=2)
    first = await node.dial(ann, 1)
    await node.dial(ann, 2)

    with pytest.raises(Unavailable):
        await node.dial(UserId(new_id()), 3)
    await node.hang_up(first)

    await node.dial(UserId(new_id()), 3)


async def test_with_limits_off_only_the_node_itself_can_be_full(ann: UserId) -> None:
    node = SocketNode(None, most=60, is_on=False)
    for number in range(60):
        await node.live(ann, number)

    with pytest.raises(Unavailable):
        await node.dial(ann, 61)


async def test_nothing_is_remembered_of_who_is_gone(nodes: tuple[SocketNode, SocketNode], redis: Redis) -> None:
    one = nodes[0]
    for number in range(20):
        place = await one.live(UserId(new_id()), number, f"198.51.100.{number}")
        await one.hang_up(place)

    assert list(one.places.device_slots()) == []
    assert one.places._owners == {}
    assert await redis.keys("*") == []
