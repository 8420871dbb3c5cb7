"""What a limiter promises: never more than the limit, however many ask at once, and a wait after which the same take is granted."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from vyry.adapters.limiter import RedisLimiter
from vyry.adapters.redis import connect_redis
from vyry.errors import RateLimited
from vyry.limits import Limiter, Quota, Window


WINDOW = Quota("ten", (Window(10, 60),))
BUCKET = Quota("bucket", (Window(10, 60, is_bucket=True),))


@pytest.fixture(params=["fakeredis", "redis"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    opened = FakeAsyncRedis() if request.param == "fakeredis" else connect_redis(request.getfixturevalue("redis_url"))
    yield opened
    await opened.aclose()


@pytest.fixture
def limiter(redis: Redis) -> Limiter:
    return RedisLimiter(redis)


async def granted(limiter: Limiter, quota: Quota, subject: str) -> int:
    """1 if a take was granted, 0 if it was refused."""
    with suppress(RateLimited):
        await limiter.take(quota, subject)
        return 1
    return 0


@pytest.mark.parametrize("quota", [WINDOW, BUCKET], ids=["window", "bucket"])
async def test_of_a_hundred_at_once_exactly_ten_are_granted_to_each(limiter: Limiter, quota: Quota) -> None:
    subjects = [f"subject {number}" for number in range(8)]

    takes = [[granted(limiter, quota, subject) for _ in range(100)] for subject in subjects]

    for asked in takes:
        assert sum(await asyncio.gather(*asked)) == 10


async def test_forty_subjects_on_real_redis_get_their_ten_each(redis_url: str) -> None:
    async with connect_redis(redis_url) as redis:
        limiter = RedisLimiter(redis)

        total = 0
        for _ in range(10):  # Four thousand at once would be an outage to a slow machine, and counted locally.
            takes = [granted(limiter, WINDOW, f"subject {number % 40}") for number in range(400)]
            total += sum(await asyncio.gather(*takes))

        assert total == 400


@pytest.mark.parametrize("is_bucket", [False, True], ids=["window", "bucket"])
async def test_after_the_wait_that_was_told_the_same_take_is_granted(limiter: Limiter, is_bucket: bool) -> None:
    quota = Quota("quick", (Window(2, 1, is_bucket=is_bucket),))
    await limiter.take(quota, "ann", cost=2)

    with pytest.raises(RateLimited) as refused:
        await limiter.take(quota, "ann")

    assert refused.value.members == {"retry_after_seconds": 1}
    await asyncio.sleep(1.0)
    await limiter.take(quota, "ann")


async def test_a_refused_take_counts_for_no_window(limiter: Limiter) -> None:
    quota = Quota("two", (Window(1, 1), Window(3, 60)))
    await limiter.take(quota, "ann")
    for _ in range(5):
        with pytest.raises(RateLimited):
            await limiter.take(quota, "ann")

    await asyncio.sleep(1.01)

    assert (await limiter.take(quota, "ann")).remaining == 0


async def test_the_wait_is_that_of_the_longest_window_that_refuses(limiter: Limiter) -> None:
    quota = Quota("two", (Window(5, 1), Window(1, 600)))
    await limiter.take(quota, "ann")

    with pytest.raises(RateLimited) as refused:
        await limiter.take(quota, "ann")

    assert refused.value.members["retry_after_seconds"] == pytest.approx(600, abs=1)


async def test_large_windows_count_amounts(limiter: Limiter) -> None:
    quota = Quota("bytes", (Window(1 << 30, 86_400),))

    grant = await limiter.take(quota, "ann", cost=1 << 29)

    assert (grant.limit, grant.remaining, grant.window) == (1 << 30, 1 << 29, 86_400)
    with pytest.raises(RateLimited) as refused:
        await limiter.take(quota, "ann", cost=(1 << 29) + 1)
    assert math.isclose(int(str(refused.value.members["retry_after_seconds"])), 86_400, rel_tol=0.02)


async def test_no_subject_stands_in_redis_in_clear(limiter: Limiter, redis: Redis) -> None:
    await limiter.take(WINDOW, "+436641234567")

    keys = await redis.keys("*")

    assert len(keys) == 1
    assert "+43664" not in str(keys)


async def test_without_redis_the_node_counts_for_itself() -> None:
    async with connect_redis("redis://127.0.0.1:1") as redis:
        limiter = RedisLimiter(redis)

        assert [await granted(limiter, BUCKET, "ann") for _ in range(12)] == [1] * 10 + [0] * 2
