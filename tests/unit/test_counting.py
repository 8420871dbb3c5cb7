"""Buckets that are taken from without waiting: all or nothing, switched off, and bounded in memory."""

import pytest

from vyry.counting import Buckets, LocalLimiter
from vyry.errors import Policy, RateLimited
from vyry.limits import POST, POST_BYTES, SIGNAL, Quota, Window


QUICK = {"post": Quota("post", (Window(1_000_000, 1, is_bucket=True),))}


def test_a_take_is_of_all_or_of_nothing() -> None:
    buckets = Buckets()

    with pytest.raises(RateLimited) as refused:
        buckets.take("ann", (POST, 1), (POST_BYTES, (128 << 20) + 1))

    assert refused.value.policy == Policy("post_bytes", 128 << 20, 86_400)
    assert (buckets.peek(POST, "ann").remaining, buckets.peek(POST_BYTES, "ann").remaining) == (60, 128 << 20)
    assert buckets.told() == []


def test_the_wait_is_true() -> None:
    buckets = Buckets()
    buckets.take("ann", (POST, 60))

    with pytest.raises(RateLimited) as refused:
        buckets.take("ann", (POST, 5))

    assert refused.value.members == {"retry_after_seconds": 5}


def test_what_is_owed_is_waited_for_and_what_was_too_much_is_given_back() -> None:
    buckets = Buckets()
    buckets.charge("ann", POST, 65)
    buckets.take("bo", (POST, 60))
    buckets.charge("bo", POST, -40)

    with pytest.raises(RateLimited) as refused:
        buckets.take("ann", (POST, 1))

    assert refused.value.members == {"retry_after_seconds": 6}
    assert buckets.peek(POST, "bo").remaining == 40
    assert sorted(buckets.told()) == [("post", "ann", 65), ("post", "bo", 20)]


def test_what_was_taken_is_told_once() -> None:
    buckets = Buckets()
    for _ in range(3):
        buckets.take("ann", (POST, 1), (POST_BYTES, 10))
    buckets.take("a device", (SIGNAL, 1))
    assert buckets.news.is_set()

    told = sorted(tuple(each) for each in buckets.told())

    assert told == [("post", "ann", 3), ("post_bytes", "ann", 30), ("signal", "a device", 1)]
    assert (buckets.told(), buckets.news.is_set()) == ([], False)


def test_switched_off_it_grants_everything_and_tells_nothing() -> None:
    buckets = Buckets(is_on=False)
    for _ in range(1000):
        buckets.take("ann", (POST, 1))

    assert buckets.peek(POST, "ann").remaining == 60
    assert not buckets.news.is_set()


def test_what_is_full_again_when_it_is_noted_is_forgotten_at_once() -> None:
    bucket = Buckets(QUICK)._bucket(POST)

    bucket.put("subject", 1.0, 2.0)

    assert not bucket.full_at


def test_who_takes_nothing_for_a_while_is_forgotten() -> None:
    buckets = Buckets(QUICK)

    for number in range(50_000):
        buckets.take(f"subject {number}", (POST, 1))
    buckets.told()

    assert len(buckets._buckets["post"].full_at) < 5_000


@pytest.mark.parametrize("count", [10, 1_000])
def test_memory_is_bounded_however_many_take_at_once(count: int) -> None:
    buckets = Buckets(capacity=count)

    for number in range(3 * count):
        buckets.take(f"subject {number}", (POST, 1))

    bucket = buckets._buckets["post"]
    assert (len(bucket.full_at), len(bucket.taken) <= count) == (count, True)


def test_what_others_took_is_learnt_and_never_gives_back_what_was_taken_here() -> None:
    buckets = Buckets()
    buckets.take("ann", (POST, 10))

    buckets.learn("post", "ann", 0.0, at=0.0)

    assert buckets.peek(POST, "ann").remaining == 50


def test_a_window_of_a_process_alone_is_no_bucket() -> None:
    limiter, day = LocalLimiter(), Quota("day", (Window(20, 86_400),))
    for _ in range(20):
        limiter.take(day, "ann")

    with pytest.raises(RateLimited) as refused:
        limiter.take(day, "ann")

    assert refused.value.members == {"retry_after_seconds": 86_400}
