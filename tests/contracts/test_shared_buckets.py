"""What nodes grant without waiting becomes known to all of them: two on one Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from vyry.errors import RateLimited
from vyry.limits import POST, POST_BYTES
from vyry.local_limits import BucketLimiter
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys
from vyry.redis.limiter import RedisLimiter
from vyry.redis.shared_buckets import SharedBuckets


KEYS = RedisLimitKeys(b"one secret for all nodes")


class Node:
    """The buckets of one node."""

    def __init__(self, redis: Redis) -> None:
        self.buckets = BucketLimiter()
        self.shared = SharedBuckets(RedisGuard(redis), self.buckets, KEYS)

    def post(self, subject: str, times: int = 1) -> int:
        """How many of so many posts in a row are granted."""
        granted = 0
        for _ in range(times):
            with suppress(RateLimited):
                self.buckets.consume(subject, (POST, 1), (POST_BYTES, 1000))
                granted += 1
        return granted


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect_redis(redis_url) as opened:
        yield opened


@pytest.fixture
def nodes(redis: Redis) -> tuple[Node, Node]:
    return Node(redis), Node(redis)


async def meet(*nodes: Node) -> None:
    for node in nodes:
        await node.shared.sync()


async def test_what_one_node_granted_the_other_does_not_grant_again(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    assert (one.post("ann", 40), other.post("ann", 1)) == (40, 1)

    await meet(one, other)

    assert other.post("ann", 60) == 19


async def test_a_moment_of_all_nodes_is_the_most_that_is_granted_too_much(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    assert (one.post("ann", 60), other.post("ann", 60)) == (60, 60)

    await meet(one, other)

    with pytest.raises(RateLimited) as refused:
        other.buckets.consume("ann", (POST, 1))
    assert refused.value.members["retry_after_seconds"] == pytest.approx(61, abs=1)


async def test_what_is_taken_while_the_nodes_talk_is_counted(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    one.post("ann", 30)
    other.post("ann", 10)
    await meet(one)

    talking = asyncio.ensure_future(meet(other))
    await asyncio.sleep(0)
    other.post("ann", 5)
    await talking

    assert other.buckets.peek(POST, "ann").remaining == 15


async def test_a_post_that_one_limit_refuses_counts_for_no_other(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    for _ in range(5):
        with pytest.raises(RateLimited, match="Too many"):
            one.buckets.consume("ann", (POST, 1), (POST_BYTES, (128 << 20) + 1))

    await meet(one, other)

    assert one.buckets.peek(POST, "ann").remaining == 60
    assert other.post("ann", 61) == 60


async def test_who_has_no_buckets_of_its_own_sees_the_same_in_redis(nodes: tuple[Node, Node], redis: Redis) -> None:
    nodes[0].post("ann", 12)
    await meet(nodes[0])

    looked = await RedisLimiter(RedisGuard(redis), keys=KEYS).peek([(POST, "ann"), (POST_BYTES, "ann")])

    assert [grants[0].remaining for grants in looked] == [48, pytest.approx((128 << 20) - 12_000, abs=2_000)]


async def test_hundreds_of_subjects_travel_together(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    for number in range(600):
        one.post(f"subject {number}", 2)
        other.post(f"subject {number}")

    await meet(one, other)

    assert {other.buckets.peek(POST, f"subject {number}").remaining for number in range(600)} == {57}


async def test_a_node_tells_by_itself_soon_after(nodes: tuple[Node, Node], redis: Redis) -> None:
    one = nodes[0]
    talking = asyncio.ensure_future(one.shared.run())

    one.post("ann", 7)
    for _ in range(500):
        await asyncio.sleep(0.01)
        if (await RedisLimiter(RedisGuard(redis), keys=KEYS).peek([(POST, "ann")]))[0][0].remaining < 60:
            break

    assert (await RedisLimiter(RedisGuard(redis), keys=KEYS).peek([(POST, "ann")]))[0][0].remaining == pytest.approx(
        53, abs=1
    )

    talking.cancel()


async def test_with_redis_away_a_node_counts_for_itself() -> None:
    async with connect_redis("redis://127.0.0.1:1") as redis:
        alone = Node(redis)
        talking = asyncio.ensure_future(alone.shared.run())

        granted = alone.post("bo", 61)
        await asyncio.sleep(0.2)

        assert (granted, alone.post("bo"), talking.done()) == (60, 0, False)
        talking.cancel()
