"""`make bench ARGS=--stations`: the way of envelopes through all stations, on all sizes; a section of bench/RESULTS.md."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgpack

from bench.load import Load, Outcomes, Pair
from bench.node_client import NodeClient
from bench.results_page import replace_section
from bench.seed import AccountSeeder
from bench.shapes import MESH, Shape
from bench.stations.program import FOLDER
from bench.stations.timeline import CHAINS, KINDS, Hop, Marks, mean_hops, split, way_of
from bench.stations.waits import sampled_commit_shares, sqlite_commit_share
from bench.tables import table
from bench.variants import sign_up
from scripts.nodes import AllInOneProcess, VyryProcess, open_cluster


HEADING: Final = "## Where the time of one envelope goes"
CLOSED: Final = (10, 160)
OPEN: Final = (100, 1000)
Mark = tuple[str, float, Any]
PROGRAM: Final = (sys.executable, "-m", "bench.stations.program")


class MarkedClient(NodeClient):
    """A client that marks what it sends and gets. It reports to itself first."""

    def __init__(self, outcomes: Outcomes, marks: list[Mark], pairs: Sequence[Pair], shape: Shape) -> None:
        super().__init__(self, pairs, shape.codec, shape.acknowledge_seconds)
        self._marks = marks
        self._reported = outcomes

    def post(self, pair: Pair, message_id: str) -> None:
        """Post, and mark it."""
        self._marks.append(("posted", time.perf_counter(), message_id))
        super().post(pair, message_id)

    def accepted(self, message_id: str) -> None:
        """Mark it and pass it on."""
        self._marks.append(("accepted", time.perf_counter(), message_id))
        self._reported.accepted(message_id)

    def delivered(self, message_id: str) -> None:
        """Mark it and pass it on."""
        self._marks.append(("delivered", time.perf_counter(), message_id))
        self._reported.delivered(message_id)

    def failed(self, fault: Exception) -> None:
        """Pass it on."""
        self._reported.failed(fault)


@dataclass(slots=True)
class Span:
    """One scenario on one size."""

    size: str
    scenario: str
    since: float
    until: float
    #: By the station at the end of a statement: the share that waited for the log.
    commit_shares: dict[str, float]
    #: Of the processor time of the node with the senders: what the kernel used.
    system_share: float


@dataclass(frozen=True, slots=True)
class Bench:
    """One size, started with clocks."""

    size: str
    load: Load
    pid: int
    database_url: str | None


async def measure(bench: Bench, seconds: float) -> list[Span]:
    """All scenarios of one size."""
    await bench.load.connect()
    await bench.load.run_closed_loop(10, 1.0, 0.5)
    scenarios = {f"{count} in flight": partial(bench.load.run_closed_loop, count, seconds) for count in CLOSED}
    scenarios |= {f"{rate}/s": partial(bench.load.run_open_loop, rate, seconds) for rate in OPEN}
    spans = [await _span(bench, scenario, run) for scenario, run in scenarios.items()]
    await bench.load.disconnect()
    return spans


async def _span(bench: Bench, scenario: str, run: Any) -> Span:
    shares: AbstractAsyncContextManager[dict[str, float]] = (
        sampled_commit_shares(bench.database_url) if bench.database_url else nullcontext({})
    )
    before, since = _user_and_system(bench.pid), time.perf_counter()
    async with shares as found:
        await run()
    user, system = (after - earlier for after, earlier in zip(_user_and_system(bench.pid), before, strict=True))
    return Span(bench.size, scenario, since, time.perf_counter(), found, system / ((user + system) or 1))


def _user_and_system(pid: int) -> tuple[int, int]:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


@contextmanager
def _clocks(folder: Path) -> Iterator[Mapping[str, str]]:
    """Nodes that start now have clocks; yields their settings."""
    VyryProcess.program, plain = PROGRAM, VyryProcess.program
    try:
        yield {FOLDER: str(folder)}
    finally:
        VyryProcess.program = plain


def run_all(seconds: float) -> tuple[list[Span], dict[str, Marks]]:
    """Measure each size with servers of its own; the marks are by size."""
    spans: list[Span] = []
    marks: dict[str, Marks] = {}
    for size in CHAINS:
        print(f"stations: {size}", flush=True)
        found, mine = Marks(), list[Mark]()
        with tempfile.TemporaryDirectory() as name:
            with _clocks(Path(name)) as settings:
                spans += _run_size(size, seconds, settings, mine)
            for path in Path(name).glob("*.marks"):
                found.add(msgpack.unpackb(path.read_bytes(), strict_map_key=False, use_list=False))
        found.add(mine)
        found.sort()
        marks[size] = found
    return spans, marks


def _run_size(size: str, seconds: float, settings: Mapping[str, str], mine: list[Mark]) -> list[Span]:
    if size == "embedded":
        with AllInOneProcess(settings) as alone:
            return asyncio.run(_run(size, seconds, (alone, alone), alone.otp_file, None, mine))
    with open_cluster(webs=2, workers=1, settings=settings) as cluster:
        nodes = (cluster.webs[0], cluster.webs[1 if size == "far" else 0])
        return asyncio.run(_run(size, seconds, nodes, cluster.otp_file, cluster.postgres.url, mine))


async def _run(
    size: str, seconds: float, nodes: tuple[VyryProcess, VyryProcess], otp_file: Path, *rest: Any
) -> list[Span]:
    database_url, mine = rest
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        pairs = await sign_up(AccountSeeder(http, nodes[0].url, otp_file), MESH, nodes[1].url)
        load = Load(pairs, partial(MarkedClient, marks=mine, pairs=pairs, shape=MESH))
        return await measure(Bench(size, load, nodes[0].pid, database_url), seconds)


def write(spans: Sequence[Span], marks: Mapping[str, Marks]) -> str:
    """The section."""
    parts = [
        f"""{HEADING}

Written by `make bench ARGS=--stations`: load `{MESH.name}`, a clock at each station (bench/stations), one run. Mean milliseconds of an envelope."""
    ]
    for size, chain in CHAINS.items():
        mine = [(span, _hops(span, chain, marks[size])) for span in spans if span.size == size]
        parts.append(f"### {size}\n\n{_hop_table(mine, chain)}\n\n{_kind_table(mine, chain, marks[size])}")
    return "\n\n".join(parts) + "\n"


def _hops(span: Span, chain: Sequence[Hop], marks: Marks) -> list[float]:
    ways = [
        way
        for message_id, moments in marks.found["posted"].items()
        if span.since <= moments[0] <= span.until and (way := way_of(message_id, moments[0], chain, marks)) is not None
    ]
    return mean_hops(ways) if ways else [0.0] * len(chain)


def _hop_table(mine: Sequence[tuple[Span, list[float]]], chain: Sequence[Hop]) -> str:
    rows = [(hop.doing, *(f"{hops[at]:.2f}" for _, hops in mine)) for at, hop in enumerate(chain)]
    total = ("together", *(f"{sum(hops):.2f}" for _, hops in mine))
    return table(("station", *(span.scenario for span, _ in mine)), [*rows, total])


def _kind_table(mine: Sequence[tuple[Span, list[float]]], chain: Sequence[Hop], marks: Marks) -> str:
    splits = []
    for span, hops in mine:
        share = sqlite_commit_share(marks, span.since, span.until)
        shares = span.commit_shares or {hop.station: share for hop in chain}
        splits.append(split(hops, chain, shares, span.system_share))
    rows = [(kind, *(f"{each[kind]:.2f}" for each in splits)) for kind in KINDS]
    return table(("waits for, or works in", *(span.scenario for span, _ in mine)), rows)


def run(out: Path, *, is_quick: bool) -> None:
    """Measure, print, and keep it in the page."""
    text = write(*run_all(0.5 if is_quick else 4.0))
    print(text)
    if not is_quick:
        page = out.read_text(encoding="utf-8") if out.exists() else ""
        out.write_text(replace_section(page, text), encoding="utf-8")
