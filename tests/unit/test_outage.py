"""An outage is told once, and waited out with growing patience."""

import structlog

from vyry.outage import Outage


def test_an_outage_is_told_when_it_begins_and_when_it_ends() -> None:
    outage = Outage("redis")

    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            outage.failed(OSError())
        outage.over()
        outage.over()

    assert [(line["event"], line["dependency"]) for line in lines] == [("away", "redis"), ("back", "redis")]


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    outage = Outage("redis", first_seconds=1.0, longest_seconds=4.0)

    waits = [outage.failed(OSError()) for _ in range(100)]
    outage.over()

    assert 0.75 <= waits[0] < 1.25
    assert 1.5 <= waits[1] < 2.5
    assert all(3.0 <= wait < 5.0 for wait in waits[2:])
    assert outage.failed(OSError()) < 1.25
