"""What a limiter promises: never more than the limit, however many ask at once, and a wait after which the same take is granted."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Protocol

import pytest
from redis.asyncio import Redis

from vyry.errors import LimitPolicy, RateLimited, Unavailable
from vyry.in_process.limiter import InProcessLimiter
from vyry.limits import (
    CLAIM_ALL,
    CLAIM_OTHERS,
    CLAIM_STRANGERS,
    CLAIM_TARGET,
    LINK_SESSIONS,
    QUOTAS,
    Grant,
    Quota,
    QuotaWindow,
)
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.keys import RedisLimitKeys
from vyry.redis.limiter import RedisLimiter


WINDOW = Quota("ten", (QuotaWindow(10, 60),))
BUCKET = Quota("bucket", (QuotaWindow(10, 60, is_bucket=True),))
KINDS = pytest.mark.parametrize("quota", [WINDOW, BUCKET], ids=["window", "bucket"])


class Counter(Protocol):
    """A limiter that can be looked into."""

    async def consume(self, quota: Quota, subject: str, cost: int = 1) -> Grant: ...
    async def charge(self, quota: Quota, subject: str, cost: int) -> Grant: ...
    async def peek(self, asked: list[tuple[Quota, str]]) -> list[tuple[Grant, ...]]: ...


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect_redis(redis_url) as opened:
        yield opened


@pytest.fixture(params=["in_process", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[Counter]:
    if request.param == "in_process":
        yield InProcessLimiter()
    else:
        async with connect_redis(request.getfixturevalue("redis_url")) as redis:
            yield RedisLimiter(RedisGuard(redis))


async def granted(limiter: Counter, quota: Quota, subject: str) -> int:
    """1 if a take was granted, 0 if it was refused."""
    with suppress(RateLimited):
        await limiter.consume(quota, subject)
        return 1
    return 0


@KINDS
@pytest.mark.usefixtures("redis_never_times_out")
async def test_of_a_hundred_at_once_exactly_ten_are_granted_to_each(limiter: Counter, quota: Quota) -> None:
    subjects = [f"subject {number}" for number in range(8)]

    takes = [[granted(limiter, quota, subject) for _ in range(100)] for subject in subjects]

    for asked in takes:
        assert sum(await asyncio.gather(*asked)) == 10


@KINDS
@pytest.mark.usefixtures("redis_never_times_out")
async def test_a_hundred_subjects_of_two_hundred_takes_each_get_exactly_their_ten(redis_url: str, quota: Quota) -> None:
    async with connect_redis(redis_url) as one, connect_redis(redis_url) as other:
        nodes = [RedisLimiter(RedisGuard(one)), RedisLimiter(RedisGuard(other))]

        answers = []
        # All at once they would stall a slow machine for longer than a Redis that answers may take.
        for number in range(100):
            takes = [granted(nodes[turn % 2], quota, f"subject {number}") for turn in range(200)]
            answers.append(sum(await asyncio.gather(*takes)))

    assert answers == [10] * 100


@KINDS
async def test_after_the_wait_that_was_told_the_same_take_is_granted(limiter: Counter, quota: Quota) -> None:
    quick = Quota("quick", (QuotaWindow(2, 1, is_bucket=quota.windows[0].is_bucket),))
    await limiter.consume(quick, "ann", cost=2)

    with pytest.raises(RateLimited) as refused:
        await limiter.consume(quick, "ann")

    assert refused.value.members == {"retry_after_seconds": 1}
    await asyncio.sleep(1.0)
    await limiter.consume(quick, "ann")


async def test_a_window_gives_back_nothing_before_its_time(limiter: Counter) -> None:
    quota = Quota("window", (QuotaWindow(3, 1),))
    await limiter.consume(quota, "ann", cost=3)

    await asyncio.sleep(0.7)

    with pytest.raises(RateLimited):
        await limiter.consume(quota, "ann")


async def test_a_refused_take_counts_for_no_window(limiter: Counter) -> None:
    quota = Quota("two", (QuotaWindow(1, 1), QuotaWindow(3, 60)))
    await limiter.consume(quota, "ann")
    for _ in range(5):
        with pytest.raises(RateLimited):
            await limiter.consume(quota, "ann")

    await asyncio.sleep(1.01)

    assert (await limiter.consume(quota, "ann")).remaining == 0


async def test_the_longest_window_that_refuses_speaks(limiter: Counter) -> None:
    quota = Quota("two", (QuotaWindow(5, 1), QuotaWindow(1, 600)))
    await limiter.consume(quota, "ann")

    with pytest.raises(RateLimited) as refused:
        await limiter.consume(quota, "ann")

    assert refused.value.members["retry_after_seconds"] == pytest.approx(600, abs=1)
    assert refused.value.policy == LimitPolicy("two", 1, 600)


async def test_large_windows_count_amounts(limiter: Counter) -> None:
    quota = Quota("bytes", (QuotaWindow(1 << 30, 86_400),))

    grant = await limiter.consume(quota, "ann", cost=1 << 29)

    assert (grant.limit, grant.remaining, grant.window) == (1 << 30, 1 << 29, 86_400)
    with pytest.raises(RateLimited) as refused:
        await limiter.consume(quota, "ann", cost=(1 << 29) + 1)
    assert math.isclose(int(str(refused.value.members["retry_after_seconds"])), 86_400, rel_tol=0.02)


async def test_looking_at_what_is_left_takes_nothing(limiter: Counter) -> None:
    two = Quota("two", (QuotaWindow(5, 60), QuotaWindow(9, 600, is_bucket=True)))
    await limiter.consume(two, "ann", cost=2)

    looks = [await limiter.peek([(two, "ann"), (BUCKET, "ann"), (two, "bo")]) for _ in range(3)]

    lefts = [[(grant.limit, grant.remaining, grant.window) for grant in each] for each in looks[-1]]
    assert lefts == [[(5, 3, 60), (9, 7, 600)], [(10, 10, 60)], [(5, 5, 60), (9, 9, 600)]]
    assert [grant.reset_seconds for grant in looks[-1][0]] == [60, 134]


async def test_no_subject_can_be_found_in_redis_by_trying_all_there_are(redis: Redis) -> None:
    number, keys = "+436641234567", RedisLimitKeys(b"a secret")
    await RedisLimiter(RedisGuard(redis), keys=keys).consume(WINDOW, number)

    names = str(await redis.keys("vyry:limit:*"))

    assert keys.key("ten", number) in names
    assert RedisLimitKeys(b"another").key("ten", number) not in names
    assert "+43664" not in names


async def test_redis_keeps_nothing_longer_than_the_limit_needs(redis: Redis) -> None:
    keys = RedisLimitKeys(b"one")
    for quota in (WINDOW, BUCKET):
        await RedisLimiter(RedisGuard(redis), keys=keys).consume(quota, "ann")

    lives = [await redis.pttl(keys.key(quota.name, "ann")) for quota in (WINDOW, BUCKET)]

    assert 0 < lives[0] <= 61_000
    assert 0 < lives[1] <= 6_000


async def test_without_redis_a_node_counts_for_itself() -> None:
    async with connect_redis("redis://127.0.0.1:1") as redis:
        limiter = RedisLimiter(RedisGuard(redis))

        assert [await granted(limiter, BUCKET, "ann") for _ in range(12)] == [1] * 10 + [0] * 2
        assert (await limiter.peek([(BUCKET, "ann")]))[0][0].remaining == 0


@pytest.mark.parametrize(
    "quota", [CLAIM_TARGET, CLAIM_ALL, CLAIM_OTHERS, CLAIM_STRANGERS, LINK_SESSIONS], ids=lambda quota: quota.name
)
async def test_without_redis_nothing_is_granted_of_what_does_not_grow_back(quota: Quota) -> None:
    async with connect_redis("redis://127.0.0.1:1") as redis:
        limiter = RedisLimiter(RedisGuard(redis))

        for _ in range(2):
            with pytest.raises(Unavailable):
                await limiter.consume(quota, "ann")


async def test_all_other_limits_stay_open_without_redis() -> None:
    async with connect_redis("redis://127.0.0.1:1") as redis:
        limiter = RedisLimiter(RedisGuard(redis))

        assert {quota.name for quota in QUOTAS.values() if quota.is_fail_closed} == {
            "claim_target",
            "claim_all",
            "claim_others",
            "claim_strangers",
            "link_sessions",
        }
        for quota in QUOTAS.values():
            if not quota.is_fail_closed and quota.windows[0].seconds and quota.windows[0].limit:
                assert (await limiter.consume(quota, "ann")).limit == quota.windows[0].limit


@KINDS
async def test_what_is_charged_counts_whatever_is_left(limiter: Counter, quota: Quota) -> None:
    await limiter.consume(quota, "ann", 8)

    grant = await limiter.charge(quota, "ann", 12)

    assert (grant.limit, grant.remaining) == (10, 0)
    with pytest.raises(RateLimited) as refused:
        await limiter.consume(quota, "ann")
    # A bucket pays its debt of ten first; a window forgets all at once.
    longest = 66 if quota is BUCKET else 60
    assert refused.value.members["retry_after_seconds"] in (longest - 1, longest)
    assert (await limiter.charge(quota, "bo", 3)).remaining == 7


@KINDS
async def test_what_was_written_while_the_clock_was_ahead_counts_for_one_window_more(
    redis: Redis, quota: Quota
) -> None:
    limiter, key = RedisLimiter(RedisGuard(redis)), RedisLimitKeys().key(quota.name, "ann")
    ahead = str(((await redis.time())[0] + 172_800) * 1000)
    await (redis.set(key, ahead) if quota is BUCKET else redis.hset(key, ahead, "10"))

    ((peeked,),) = await limiter.peek([(quota, "ann")])
    with pytest.raises(RateLimited) as refused:
        await limiter.consume(quota, "ann")

    assert peeked.reset_seconds <= 61
    assert refused.value.members["retry_after_seconds"] in range(1, 62)
