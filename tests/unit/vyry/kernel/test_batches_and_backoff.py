"""Batches of a request, and waits between attempts."""

import pytest

from vyry.kernel.backoff import backoff_seconds, jittered
from vyry.kernel.batches import batched


def test_the_last_batch_is_shorter() -> None:
    assert list(batched(range(5), 2)) == [(0, 1), (2, 3), (4,)]
    assert list(batched([], 2)) == []


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0.2), (1, 0.2), (2, 0.4), (4, 1.6), (5, 3.0), (10_000, 3.0)])
def test_the_wait_doubles_up_to_the_longest(failures: int, seconds: float) -> None:
    assert backoff_seconds(failures, 0.2, 3.0) == pytest.approx(seconds)


def test_jitter_stays_between_its_factors() -> None:
    waits = [jittered(10, 0.75, 1.25) for _ in range(200)]

    assert 7.5 <= min(waits) < max(waits) <= 12.5
