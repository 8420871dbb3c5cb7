"""Buckets that are taken from without waiting: all or nothing, switched off, and bounded in memory."""

import pytest

from vyry.errors import LimitPolicy, RateLimited
from vyry.limits import POST, POST_BYTES, SIGNAL, Quota, QuotaWindow
from vyry.local_limits import BucketLimiter, LocalLimiter


QUICK = {"post": Quota("post", (QuotaWindow(1_000_000, 1, is_bucket=True),))}


def test_a_take_is_of_all_or_of_nothing() -> None:
    buckets = BucketLimiter()

    with pytest.raises(RateLimited) as refused:
        buckets.consume("ann", (POST, 1), (POST_BYTES, (128 << 20) + 1))

    assert refused.value.policy == LimitPolicy("post_bytes", 128 << 20, 86_400)
    assert (buckets.peek(POST, "ann").remaining, buckets.peek(POST_BYTES, "ann").remaining) == (60, 128 << 20)
    assert buckets.pop_consumed() == []


def test_the_wait_is_true() -> None:
    buckets = BucketLimiter()
    buckets.consume("ann", (POST, 60))

    with pytest.raises(RateLimited) as refused:
        buckets.consume("ann", (POST, 5))

    assert refused.value.members == {"retry_after_seconds": 5}


def test_what_is_owed_is_waited_for_and_what_was_too_much_is_given_back() -> None:
    buckets = BucketLimiter()
    buckets.charge("ann", POST, 65)
    buckets.consume("bo", (POST, 60))
    buckets.charge("bo", POST, -40)

    with pytest.raises(RateLimited) as refused:
        buckets.consume("ann", (POST, 1))

    assert refused.value.members == {"retry_after_seconds": 6}
    assert buckets.peek(POST, "bo").remaining == 40
    assert sorted(buckets.pop_consumed()) == [("post", "ann", 65), ("post", "bo", 20)]


def test_what_was_taken_is_told_once() -> None:
    buckets = BucketLimiter()
    for _ in range(3):
        buckets.consume("ann", (POST, 1), (POST_BYTES, 10))
    buckets.consume("a device", (SIGNAL, 1))
    assert buckets.has_consumed.is_set()

    told = sorted(tuple(each) for each in buckets.pop_consumed())

    assert told == [("post", "ann", 3), ("post_bytes", "ann", 30), ("signal", "a device", 1)]
    assert (buckets.pop_consumed(), buckets.has_consumed.is_set()) == ([], False)


def test_switched_off_it_grants_everything_and_tells_nothing() -> None:
    buckets = BucketLimiter(is_on=False)
    for _ in range(1000):
        buckets.consume("ann", (POST, 1))

    assert buckets.peek(POST, "ann").remaining == 60
    assert not buckets.has_consumed.is_set()


def test_what_is_full_again_when_it_is_noted_is_forgotten_at_once() -> None:
    bucket = BucketLimiter(QUICK)._bucket(POST)

    bucket.store("subject", 1.0, 2.0)

    assert not bucket.full_at


def test_who_takes_nothing_for_a_while_is_forgotten() -> None:
    buckets = BucketLimiter(QUICK)

    for number in range(50_000):
        buckets.consume(f"subject {number}", (POST, 1))
    buckets.pop_consumed()

    assert len(buckets._buckets["post"].full_at) < 5_000


@pytest.mark.parametrize("count", [10, 1_000])
def test_memory_is_bounded_however_many_take_at_once(count: int) -> None:
    buckets = BucketLimiter(capacity=count)

    for number in range(3 * count):
        buckets.consume(f"subject {number}", (POST, 1))

    bucket = buckets._buckets["post"]
    assert (len(bucket.full_at), len(bucket.consumed) <= count) == (count, True)


def test_what_others_took_is_learnt_and_never_gives_back_what_was_taken_here() -> None:
    buckets = BucketLimiter()
    buckets.consume("ann", (POST, 10))

    buckets.merge("post", "ann", 0.0, measured_at=0.0)

    assert buckets.peek(POST, "ann").remaining == 50


def test_a_window_of_a_process_alone_is_no_bucket() -> None:
    limiter, day = LocalLimiter(), Quota("day", (QuotaWindow(20, 86_400),))
    for _ in range(20):
        limiter.consume(day, "ann")

    with pytest.raises(RateLimited) as refused:
        limiter.consume(day, "ann")

    assert refused.value.members == {"retry_after_seconds": 86_400}


@pytest.mark.parametrize("limit", [20, 2000])
def test_the_reset_of_a_sliding_window_is_its_length(limit: int) -> None:
    limiter, day = LocalLimiter(), Quota("day", (QuotaWindow(limit, 86_400),))

    grants = [limiter.consume(day, "ann", 2), limiter.charge(day, "ann", 1)]

    assert [(grant.remaining, grant.reset_seconds) for grant in grants] == [(limit - 2, 86_400), (limit - 3, 86_400)]
