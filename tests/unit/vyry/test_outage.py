"""An outage is told once, and waited out with growing patience."""

import structlog

from vyry.outage import OutageTracker


def test_an_outage_is_told_when_it_begins_and_when_it_ends() -> None:
    outage = OutageTracker("redis")

    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            outage.record_failure(OSError())
        outage.record_success()
        outage.record_success()

    assert [(line["event"], line["dependency"]) for line in lines] == [
        ("dependency_down", "redis"),
        ("dependency_up", "redis"),
    ]


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    outage = OutageTracker("redis", first_seconds=1.0, longest_seconds=4.0)

    waits = [outage.record_failure(OSError()) for _ in range(100)]
    outage.record_success()

    assert 0.75 <= waits[0] < 1.25
    assert 1.5 <= waits[1] < 2.5
    assert all(3.0 <= wait < 5.0 for wait in waits[2:])
    assert outage.record_failure(OSError()) < 1.25
