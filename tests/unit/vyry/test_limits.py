"""The local limiter and the reading of limit settings."""

from datetime import timedelta

import pytest

from vyry import limits
from vyry.errors import RateLimited
from vyry.limits import Quota, QuotaWindow
from vyry.local_limits import LocalLimiter


THREE = Quota("three", (QuotaWindow(3, 60, is_bucket=True),))


def test_a_bucket_grants_its_limit_and_then_says_how_long_to_wait() -> None:
    limiter = LocalLimiter()

    granted = [limiter.consume(THREE, "ann").remaining for _ in range(3)]

    assert granted == [2, 1, 0]
    with pytest.raises(RateLimited) as refused:
        limiter.consume(THREE, "ann")
    assert refused.value.members == {"retry_after_seconds": 20}


def test_subjects_do_not_share_a_bucket() -> None:
    limiter = LocalLimiter()

    limiter.consume(THREE, "ann", cost=3)

    assert limiter.consume(THREE, "bo").remaining == 2


def test_a_refused_take_counts_for_nothing() -> None:
    limiter = LocalLimiter()
    limiter.consume(THREE, "ann", cost=2)

    with pytest.raises(RateLimited):
        limiter.consume(THREE, "ann", cost=2)

    assert limiter.consume(THREE, "ann").remaining == 0


def test_the_tightest_window_speaks() -> None:
    limiter = LocalLimiter()

    grant = limiter.consume(limits.OTP_NUMBER, "a number")

    assert (grant.limit, grant.remaining, grant.window) == (1, 0, 30)


def test_memory_is_bounded_by_forgetting_the_oldest_subject() -> None:
    limiter = LocalLimiter(capacity=2)

    for subject in ("ann", "bo", "cy"):
        limiter.consume(THREE, subject)

    assert limiter.consume(THREE, "ann").remaining == 2


def test_switched_off_it_grants_everything() -> None:
    limiter = LocalLimiter(is_on=False)

    grants = [limiter.consume(THREE, "ann") for _ in range(10)]

    assert grants[-1].remaining == 3


def test_a_setting_replaces_the_windows() -> None:
    quotas = limits.apply_overrides({"otp_number": (5, timedelta(seconds=10))})

    limiter = LocalLimiter(quotas)

    assert limiter.consume(limits.OTP_NUMBER, "a number").limit == 5


def test_a_setting_for_an_unknown_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="no such limit: psot"):
        limits.apply_overrides({"psot": (5, timedelta(seconds=10))})
