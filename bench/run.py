"""`python -m bench.run`: measures the floor and Vyry in interleaved rounds on the same machine and services, and writes bench/RESULTS.md.

Two loads (bench/shapes.py), four variants: `floor` (bench/baseline.py), `embedded` (`vyry start`), `near` (a cluster, all sockets on the posting node)
and `far` (receivers on the other node, so that everything goes through Kafka and a worker). The page is written after each round.
"""

import argparse
import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp

from bench import group, presence, ratchet
from bench import startup as starting
from bench.comparison import compare
from bench.idle import BareServer, idle_costs, raise_file_limit
from bench.measured import LoadReport
from bench.report import Report, write
from bench.results_page import find_section, replace_section
from bench.rounds import QUICK, Plan, measure
from bench.shapes import SHAPES
from bench.variants import SIZES, BaselineProcess, Tree, floor_variant, open_tree
from scripts.nodes import ROOT


#: What is measured by itself, and has a section of its own.
EXTRA_BENCHMARKS: Final = {"ratchet": ratchet, "group": group, "presence": presence, "starting": starting}
Keep = Callable[[Report], None]


async def run(plan: Plan, tree: Tree, floor: BaselineProcess, bare: BareServer, keep: Keep) -> None:
    """Measure everything; `keep` gets what is there after each round and at the end."""
    assert tree.cluster is not None
    report = Report(plan.rounds, plan.seconds, [LoadReport(shape) for shape in plan.shapes], sockets=plan.sockets)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        loads = [
            (load, [floor_variant(floor, tree.cluster.postgres, load.shape), *await tree.variants(http, load.shape)])
            for load in report.loads
        ]
        await measure(plan, loads, lambda: keep(report))
    if plan.sockets:
        report.idle = await idle_costs(plan.sockets, tree.cluster, bare)
        keep(report)


def main() -> None:
    """Read the command line, measure, write."""
    arguments = _arguments()
    for name, other in EXTRA_BENCHMARKS.items():
        if getattr(arguments, name):
            other.run(arguments.out, is_quick=arguments.quick)
            return
    raise_file_limit()
    plan, sizes = _plan(arguments), arguments.sizes.split(",")
    if arguments.compare:
        with open_tree(sizes, arguments.compare.resolve()) as before, open_tree(sizes) as after:
            asyncio.run(compare(plan, (before, after)))
        return
    with ExitStack() as stack:
        tree = stack.enter_context(open_tree(sizes))
        assert tree.cluster is not None
        floor = stack.enter_context(BaselineProcess(tree.cluster.postgres))
        bare = stack.enter_context(BareServer())
        asyncio.run(run(plan, tree, floor, bare, partial(_keep, None if arguments.quick else arguments.out)))


def _keep(path: Path | None, report: Report) -> None:
    """Print the page, and put it in the place of the one before; sections of other measurements stay."""
    text = write(report)
    print(text, flush=True)
    if path is None:
        return
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    for section in [find_section(page, other.HEADING) for other in EXTRA_BENCHMARKS.values()]:
        text = replace_section(text, section) if section else text
    path.write_text(text, encoding="utf-8")


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = QUICK if arguments.quick else Plan(rounds=arguments.rounds, seconds=arguments.seconds)
    wanted = arguments.loads.split(",")
    return replace(plan, shapes=[shape for shape in plan.shapes if shape.name in wanted])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="a smoke test: everything once, for a moment, nothing written")
    add("--rounds", type=int, default=Plan().rounds)
    add("--seconds", type=float, default=Plan().seconds, help="of one measurement")
    add("--loads", default=",".join(shape.name for shape in SHAPES), help="which of the loads (bench/shapes.py)")
    add("--sizes", default=",".join(SIZES), help="which sizes of Vyry")
    add("--compare", type=Path, metavar="TREE", help="measure beside another source tree instead; print ratios")
    add("--out", type=Path, default=ROOT / "bench" / "RESULTS.md")
    for name, help_text in (
        ("--ratchet", "measure sessions and sender keys beside other libraries instead"),
        ("--group", "measure posts to a group of a thousand devices instead"),
        ("--presence", "measure 2,000 sockets that watch each other instead"),
        ("--starting", "measure how soon commands of the client begin instead"),
    ):
        add(name, action="store_true", help=help_text)
    return parser.parse_args()


if __name__ == "__main__":
    main()
