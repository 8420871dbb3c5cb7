"""`python -m bench.run --compare TREE`: this source tree beside another one, interleaved, as ratios of the same round."""

import aiohttp

from bench.measured import LoadReport, cost, p99, rate
from bench.rounds import Plan, measure
from bench.tables import spread, table
from bench.variants import SIZES, Tree, Variant


#: Behind the name of a size: the other tree.
BEFORE = " before"


async def compare(plan: Plan, trees: tuple[Tree, Tree]) -> None:
    """Measure both trees in turn and print their ratios after each round."""
    loads = [LoadReport(shape) for shape in plan.shapes]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        work = []
        for load in loads:
            both = [
                await tree.variants(http, load.shape, suffix) for tree, suffix in zip(trees, (BEFORE, ""), strict=True)
            ]
            work.append((load, _alternate(*both)))
        await measure(plan, work, lambda: print(write_comparison(loads), flush=True))


def _alternate(before: list[Variant], after: list[Variant]) -> list[Variant]:
    return [variant for both in zip(before, after, strict=True) for variant in both]


def write_comparison(loads: list[LoadReport]) -> str:
    """For each load and scenario: what this tree does, over what the other one does."""
    head = ("load", "size", "scenario", "before /s", "/s", "ratio", "processor time", "p99", "bytes written", "foreign")
    rows = [
        (load.shape.name, size, scenario, *_row(load, size, scenario))
        for load in loads
        for scenario in load.scenarios()
        for size in SIZES
        if load.rounds_of(size, scenario)
    ]
    return table(head, rows)


def _row(load: LoadReport, size: str, scenario: str) -> tuple[str, ...]:
    before = size + BEFORE
    ratios = [
        spread(load.ratios(size, scenario, figure, before))
        for figure in (rate, cost, p99, lambda each: each.written_per_byte)
    ]
    rates = (f"{load.median(name, scenario, rate):,.0f}" for name in (before, size))
    return (*rates, *ratios, f"{load.median(size, scenario, lambda each: each.foreign):.2f}")
