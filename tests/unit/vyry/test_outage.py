"""An outage is told once, and waited out with growing patience."""

import asyncio

import structlog

from vyry.outage import OutageTracker


async def test_an_outage_is_told_when_it_begins_and_when_it_ends() -> None:
    outage = OutageTracker("redis", settle_seconds=0)

    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            outage.record_failure(OSError())
        outage.record_success()
        outage.record_success()
        await asyncio.sleep(0.01)

    assert [(line["event"], line["dependency"]) for line in lines] == [
        ("dependency_down", "redis"),
        ("dependency_up", "redis"),
    ]


async def test_a_dependency_that_answers_now_and_then_is_told_once() -> None:
    outage = OutageTracker("redis", settle_seconds=0.2)

    with structlog.testing.capture_logs() as lines:
        for _ in range(20):
            outage.record_failure(OSError())
            outage.record_success()
        await asyncio.sleep(0.1)
        outage.record_failure(OSError())
        await asyncio.sleep(0.3)
        outage.record_success()
        before = [line["event"] for line in lines]
        await asyncio.sleep(0.3)

    assert before == ["dependency_down"]
    assert [line["event"] for line in lines] == ["dependency_down", "dependency_up"]
    assert 0.4 <= lines[1]["seconds"] <= 0.6


async def test_waits_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    outage = OutageTracker("redis", first_seconds=1.0, longest_seconds=4.0)

    waits = [outage.record_failure(OSError()) for _ in range(100)]
    outage.record_success()

    assert 0.75 <= waits[0] < 1.25
    assert 1.5 <= waits[1] < 2.5
    assert all(3.0 <= wait < 5.0 for wait in waits[2:])
    assert outage.record_failure(OSError()) < 1.25
