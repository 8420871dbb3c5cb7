"""The load counts an envelope when both sides have it, from the moment at which it was due, and a run with a fault ends with it."""

import asyncio

import pytest

from bench.load import Load, LoadError, Member, Outcomes, Pair


PAIR = Pair(Member("", "s", "s"), Member("", "r", "r"), "conversation")


class EchoClient:
    """A server that keeps its promise at once, or delivers every envelope so many times."""

    def __init__(self, outcomes: Outcomes, deliveries: int = 1) -> None:
        self._outcomes = outcomes
        self._deliveries = deliveries
        self.are_receivers_there = False
        self._kept: list[str] = []

    async def connect(self, *, receivers: bool) -> None:
        self.are_receivers_there = receivers
        while receivers and self._kept:
            self._outcomes.delivered(self._kept.pop())

    def post(self, pair: Pair, message_id: str) -> None:
        assert pair is PAIR
        asyncio.get_running_loop().call_soon(self._settle, message_id)

    async def disconnect(self) -> None:
        self.are_receivers_there = False

    def _settle(self, message_id: str) -> None:
        self._outcomes.accepted(message_id)
        if not self.are_receivers_there:
            self._kept.append(message_id)
            return
        for _ in range(self._deliveries):
            self._outcomes.delivered(message_id)


async def test_a_closed_loop_counts_what_both_sides_have() -> None:
    load = Load([PAIR], EchoClient)
    await load.connect()

    figures = await load.run_closed_loop(10, seconds=0.05, warm_up=0.01)

    assert figures.envelopes > 10
    assert figures.rate > 0
    assert 0 < len(figures.latencies) <= figures.envelopes


async def test_an_open_loop_posts_as_many_as_planned() -> None:
    load = Load([PAIR], EchoClient)
    await load.connect()

    figures = await load.run_open_loop(200, seconds=0.1)

    assert figures.envelopes == 20


async def test_a_post_that_leaves_late_was_due_before() -> None:
    load = Load([PAIR], EchoClient)
    await load.connect()

    figures = await load.run_open_loop(1_000_000, seconds=0.01)

    assert figures.percentile(1) > figures.percentile(0)


async def test_an_envelope_that_comes_twice_ends_the_run() -> None:
    load = Load([PAIR], lambda outcomes: EchoClient(outcomes, deliveries=2))
    await load.connect()

    with pytest.raises(LoadError, match="came twice"):
        await load.run_open_loop(100, seconds=0.05)


async def test_absent_receivers_get_what_was_posted_when_they_come() -> None:
    load = Load([PAIR], EchoClient)
    await load.connect(receivers=False)

    filled = await load.post_to_offline(300, in_flight=16)
    await load.connect_receivers()

    assert filled > 0
