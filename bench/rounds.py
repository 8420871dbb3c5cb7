"""The rounds: each variant in turn in each of them, so that a slow minute of the machine hits all alike."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from bench.load import Figures
from bench.measured import LoadReport, Measurement
from bench.shapes import PAIRS, SHAPES, Shape
from bench.variants import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    seconds: float = 3.0
    warm_up: float = 1.0
    in_flight: Sequence[int] = (10, 160)
    rates: Sequence[int] = (100, 1000)
    #: Posts to absent receivers in one round.
    offline: int = 5000
    sockets: int = 3000
    shapes: Sequence[Shape] = SHAPES


#: A smoke test: everything once, for a moment.
QUICK = Plan(
    rounds=1,
    seconds=0.3,
    warm_up=0.1,
    in_flight=(10,),
    rates=(100,),
    offline=50,
    sockets=20,
    shapes=[replace(shape, senders=3, receivers=3 if shape is PAIRS else 6) for shape in SHAPES],
)


Keep = Callable[[], None]


async def measure(plan: Plan, loads: Sequence[tuple[LoadReport, Sequence[Variant]]], keep: Keep) -> None:
    """All rounds of all loads; `keep` is called after each round, so that a later failure loses nothing."""
    for number in range(plan.rounds):
        for report, variants in loads:
            for variant in variants:
                print(f"round {number + 1} of {plan.rounds}: {report.shape.name}, {variant.name}", flush=True)
                await _measure_online(plan, report, variant)
                if variant.keeps_offline and plan.offline:
                    await _measure_offline(plan, report, variant)
        keep()


async def _measure_online(plan: Plan, report: LoadReport, variant: Variant) -> None:
    await variant.load.connect()
    for in_flight in plan.in_flight:
        under_way = variant.load.run_closed_loop(in_flight, plan.seconds, plan.warm_up)
        report.add(variant.name, f"{in_flight} in flight", await _measured(variant, under_way))
    for rate in plan.rates:
        if variant.max_rate is None or rate <= variant.max_rate:
            under_way = variant.load.run_open_loop(rate, plan.seconds)
            report.add(variant.name, f"{rate}/s", await _measured(variant, under_way))
    await variant.load.disconnect()


async def _measured(variant: Variant, under_way: Awaitable[Figures]) -> Measurement:
    loop = asyncio.get_running_loop()
    before, began = await variant.read_costs(), loop.time()
    figures = await under_way
    after, took = await variant.read_costs(), loop.time() - began
    used = {name: after.processor[name] - before.processor[name] for name in after.processor}
    foreign = max(0.0, after.foreign - before.foreign) / took
    return Measurement(figures, used, after.written - before.written, foreign)


async def _measure_offline(plan: Plan, report: LoadReport, variant: Variant) -> None:
    """Post to receivers who are away, then let them all come back at once."""
    posts = plan.offline if variant.max_rate is None else min(plan.offline, 10 * variant.max_rate)
    await variant.load.connect(receivers=False)
    filled = await variant.load.post_to_offline(posts)
    began = asyncio.get_running_loop().time()
    await variant.load.connect_receivers()
    took = asyncio.get_running_loop().time() - began
    await variant.load.disconnect()
    report.add_offline(variant.name, filled, posts / took)
