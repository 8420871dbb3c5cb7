"""`python -m bench.run`: measures the floor and Vyry in interleaved rounds on the same machine and services, and writes bench/RESULTS.md.

Two loads (bench/shapes.py), four variants: `floor` (bench/baseline.py), `embedded` (`vyry start`), `near` (a cluster, all sockets on the posting node)
and `far` (receivers on the other node, so that everything goes through Kafka and a worker). The page is written after each round.
"""

import argparse
import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp

from bench import group, growth, history, presence, ratchet, search, storm
from bench import startup as starting
from bench.comparison import compare
from bench.idle import BareServer, idle_costs, raise_file_limit
from bench.measured import LoadReport
from bench.report import PEERS_HEADING, Report, write, write_peers
from bench.results_page import find_section, replace_section
from bench.rounds import QUICK, Plan, measure
from bench.servers.variants import PeerServers, open_peers
from bench.shapes import MESH, SHAPES, Shape
from bench.stations import measure as stations
from bench.variants import SIZES, BaselineProcess, Tree, Variant, floor_variant, open_tree
from scripts.nodes import ROOT, AllInOneProcess, Cluster, open_cluster


#: What is measured by itself, and has a section of its own.
EXTRA_BENCHMARKS: Final = {
    "ratchet": ratchet,
    "group": group,
    "presence": presence,
    "starting": starting,
    "stations": stations,
    "growth": growth,
    "storm": storm,
    "history": history,
    "search": search,
}
Keep = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class Servers:
    """All servers of all variants, side by side: idle ones cost next to nothing."""

    tree: Tree
    cluster: Cluster
    floor: BaselineProcess
    bare: BareServer
    peers: PeerServers | None

    async def variants(self, http: aiohttp.ClientSession, shape: Shape) -> list[Variant]:
        """The order in which they are measured."""
        peers = self.peers.variants(http, shape) if self.peers else []
        return [
            floor_variant(self.floor, self.cluster.postgres, shape),
            *peers,
            *await self.tree.variants(http, shape),
        ]


async def run(plan: Plan, servers: Servers, keep: Keep) -> None:
    """Measure everything; `keep` gets what is there after each round and at the end."""
    report = Report(plan.rounds, plan.seconds, [LoadReport(shape) for shape in plan.shapes], sockets=plan.sockets)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        loads = [(load, await servers.variants(http, load.shape)) for load in report.loads]
        await measure(plan, loads, lambda: keep(report))
    if plan.sockets:
        report.idle = await idle_costs(plan.sockets, servers.cluster, servers.bare)
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
    with _start_servers(sizes, with_peers=arguments.peers) as servers:
        keep = partial(_keep_peers if arguments.peers else _keep, None if arguments.quick else arguments.out)
        asyncio.run(run(plan, servers, keep))


@contextmanager
def _start_servers(sizes: Sequence[str], *, with_peers: bool) -> Iterator[Servers]:
    with ExitStack() as stack:
        peers = stack.enter_context(open_peers()) if with_peers else None
        cluster = stack.enter_context(open_cluster(webs=2, workers=1))
        alone = stack.enter_context(AllInOneProcess())
        floor = stack.enter_context(BaselineProcess(cluster.postgres))
        yield Servers(Tree(sizes, cluster, alone), cluster, floor, stack.enter_context(BareServer()), peers)


def _keep(path: Path | None, report: Report) -> None:
    """Print the page, and put it in the place of the one before; sections of other measurements stay."""
    text = write(report)
    print(text, flush=True)
    if path is None:
        return
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    for heading in (PEERS_HEADING, *(other.HEADING for other in EXTRA_BENCHMARKS.values())):
        if section := find_section(page, heading):
            text = replace_section(text, section)
    path.write_text(text, encoding="utf-8")


def _keep_peers(path: Path | None, report: Report) -> None:
    """Print the section of the other servers, and put it into the page."""
    text = write_peers(report)
    print(text, flush=True)
    if path is not None:
        page = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(replace_section(page, text), encoding="utf-8")


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = QUICK if arguments.quick else Plan(rounds=arguments.rounds, seconds=arguments.seconds)
    # The other servers speak no MessagePack.
    wanted = [MESH.name] if arguments.peers else arguments.loads.split(",")
    shapes = [shape for shape in plan.shapes if shape.name in wanted]
    return replace(plan, shapes=shapes, sockets=0 if arguments.peers else plan.sockets)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="a smoke test: everything once, for a moment, nothing written")
    add("--rounds", type=int, default=Plan().rounds)
    add("--seconds", type=float, default=Plan().seconds, help="of one measurement")
    add("--loads", default=",".join(shape.name for shape in SHAPES), help="which of the loads (bench/shapes.py)")
    add("--sizes", default=",".join(SIZES), help="which sizes of Vyry")
    add("--peers", action="store_true", help="the load `mesh` on ejabberd and Synapse, too (installs them)")
    add("--compare", type=Path, metavar="TREE", help="measure beside another source tree instead; print ratios")
    add("--out", type=Path, default=ROOT / "bench" / "RESULTS.md")
    for name, help_text in (
        ("--ratchet", "measure sessions and sender keys beside other libraries instead"),
        ("--group", "measure posts to a group of a thousand devices instead"),
        ("--presence", "measure 2,000 sockets that watch each other instead"),
        ("--stations", "follow envelopes through all stations instead"),
        ("--growth", "measure a thousand to a million mailboxes instead"),
        ("--storm", "let 2,000 devices reconnect within 10 s instead"),
        ("--history", "measure 100,000 messages out of a profile and into another instead"),
        ("--search", "measure searches of 100,000 messages instead"),
        ("--starting", "measure how soon commands of the client begin instead"),
    ):
        add(name, action="store_true", help=help_text)
    return parser.parse_args()


if __name__ == "__main__":
    main()
