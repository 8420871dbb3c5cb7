"""`python -m bench.run`: measures the floor and Vyry in interleaved rounds on the same machine and services, and writes bench/RESULTS.md.

Four variants, each with the same 25 senders and 25 receivers: `floor` (bench/floor.py), `embedded` (`vyry start`), `near` (a cluster, all sockets
on the posting node) and `far` (receivers on the other node, so that everything goes through Kafka and a worker).
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import asyncpg

from bench import group, presence, ratchet, starting
from bench.costs import disk_bytes, processor_seconds
from bench.idle import Bare, allow_files, idle_costs
from bench.load import Figures, Load, Member, Pair
from bench.page import placed, section_of
from bench.report import Report, write
from bench.seed import Registry
from bench.wire import Codec
from scripts.nodes import ROOT, Alone, Cluster, cluster
from scripts.services import Postgres, Server


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    seconds: float = 4.0
    warm_up: float = 1.0
    in_flight: Sequence[int] = (10, 160)
    rates: Sequence[int] = (100, 1000)
    sockets: int = 3000
    offline: int = 5000
    pairs: int = 25
    codec: Codec = "msgpack"


QUICK = Plan(rounds=1, seconds=0.3, warm_up=0.1, in_flight=(10,), rates=(100,), sockets=20, offline=50, pairs=3)


#: What is measured by itself, and has a section of its own.
OTHERS = {"ratchet": ratchet, "group": group, "presence": presence, "starting": starting}


class FloorServer(Server):
    """bench/floor.py as a process."""

    name = "floor"

    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"
        self._database_url = postgres.url

    def _prepare(self) -> None:
        """Nothing: it makes its own table."""

    def _command(self) -> Sequence[str | Path]:
        options = ("--port", str(self.port), "--database-url", self._database_url)
        return ["/usr/bin/env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "bench.floor", *options]


@dataclass(slots=True)
class Variant:
    """One way to keep the promise, and the processes it takes."""

    name: str
    pairs: list[Pair]
    processes: dict[str, Server]
    #: Whose written bytes count: PostgreSQL's log, or this process's own files.
    writer: Postgres | Alone
    load: Load = field(init=False)


@dataclass(frozen=True, slots=True)
class Costs:
    """Counters at one moment."""

    processor: dict[str, float]
    written: int


async def costs(variant: Variant) -> Costs:
    """What the variant's processes have used so far."""
    processor = {name: processor_seconds(server.pid) for name, server in variant.processes.items()}
    return Costs(processor, await _written(variant.writer))


async def _written(writer: Postgres | Alone) -> int:
    if isinstance(writer, Alone):
        return disk_bytes(writer.pid)
    connection = await asyncpg.connect(writer.url)
    try:
        return int(await connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))
    finally:
        await connection.close()


async def measure(plan: Plan, variants: Sequence[Variant], report: Report) -> None:
    """All rounds: each variant in turn in each of them, so that a slow minute of the machine hits all alike."""
    for number in range(plan.rounds):
        for variant in variants:
            print(f"round {number + 1} of {plan.rounds}: {variant.name}", flush=True)
            await variant.load.connect()
            for in_flight in plan.in_flight:
                under_way = variant.load.closed(in_flight, plan.seconds, plan.warm_up)
                await _note(report, variant, f"{in_flight} in flight", under_way)
            for rate in plan.rates:
                await _note(report, variant, f"{rate}/s", variant.load.open(rate, plan.seconds))
            variant.load.disconnect()
            await asyncio.sleep(0.5)


async def _note(report: Report, variant: Variant, scenario: str, under_way: Awaitable[Figures]) -> None:
    before = await costs(variant)
    figures = await under_way
    after = await costs(variant)
    used = {name: after.processor[name] - before.processor[name] for name in after.processor}
    report.note((variant.name, scenario), figures, used, after.written - before.written)


async def offline(plan: Plan, variants: Sequence[Variant], report: Report) -> None:
    """Post to receivers who are away, then let them all come back at once."""
    for variant in variants:
        await variant.load.connect(receivers=False)
        filled = await variant.load.fill(plan.offline)
        began = asyncio.get_running_loop().time()
        await variant.load.connect_receivers()
        took = asyncio.get_running_loop().time() - began
        report.offline[variant.name] = (filled, plan.offline / took)
        variant.load.disconnect()


async def seeded(plan: Plan, http: aiohttp.ClientSession, installation: Cluster, alone: Alone) -> list[list[Pair]]:
    """The pairs of `embedded`, `near` and `far`."""
    here, there = installation.webs[0].url, installation.webs[1].url
    found = []
    for url, receiver_url, otp_file in (
        (alone.url, alone.url, alone.otp_file),
        (here, here, installation.otp_file),
        (here, there, installation.otp_file),
    ):
        registry = Registry(http, url, otp_file)
        members = await registry.members(2 * plan.pairs, with_keys=True)
        senders, receivers = members[: plan.pairs], members[plan.pairs :]
        moved = [replace(receiver, url=receiver_url) for receiver in receivers]
        found.append([await registry.pair(sender, receiver) for sender, receiver in zip(senders, moved, strict=True)])
    return found


def floor_pairs(plan: Plan, url: str) -> list[Pair]:
    """The floor knows nobody: a token is a name."""
    return [
        Pair(Member(url, f"s{number}", f"s{number}"), Member(url, f"r{number}", f"r{number}"), "conversation")
        for number in range(plan.pairs)
    ]


def variants_of(installation: Cluster, alone: Alone, floor: FloorServer, pairs: list[list[Pair]]) -> list[Variant]:
    """The four, in the order in which they are measured."""
    postgres, here, there = installation.postgres, *installation.webs
    services: dict[str, Server] = {"postgres": postgres, "redis": installation.redis, "kafka": installation.kafka}
    nodes: dict[str, Server] = {"web": here, "other web": there, "worker": installation.workers[0]}
    return [
        Variant("floor", pairs[0], {"floor": floor, "postgres": postgres}, postgres),
        Variant("embedded", pairs[1], {"start": alone}, alone),
        Variant("near", pairs[2], {**nodes, **services}, postgres),
        Variant("far", pairs[3], {**nodes, **services}, postgres),
    ]


@contextmanager
def everything() -> Iterator[tuple[Cluster, Alone, FloorServer, Bare]]:
    """All servers of all variants, side by side: idle ones cost next to nothing."""
    with ExitStack() as stack:
        installation = stack.enter_context(cluster(webs=2, workers=1))
        alone = stack.enter_context(Alone())
        floor = stack.enter_context(FloorServer(installation.postgres))
        yield installation, alone, floor, stack.enter_context(Bare())


@asynccontextmanager
async def ready(plan: Plan, servers: tuple[Cluster, Alone, FloorServer, Bare]) -> AsyncIterator[list[Variant]]:
    """The variants with their people signed up."""
    installation, alone, floor, _ = servers
    async with aiohttp.ClientSession() as http:
        pairs = [floor_pairs(plan, floor.url), *await seeded(plan, http, installation, alone)]
        variants = variants_of(installation, alone, floor, pairs)
        for variant in variants:
            variant.load = Load(variant.pairs, plan.codec)
        yield variants


async def run(plan: Plan, servers: tuple[Cluster, Alone, FloorServer, Bare]) -> Report:
    """Measure everything."""
    report = Report(plan.rounds, plan.seconds, plan.codec)
    async with ready(plan, servers) as variants:
        await measure(plan, variants, report)
        await offline(plan, variants[1:], report)
    installation, _, _, bare = servers
    report.idle = await idle_costs(plan.sockets, installation, bare)
    report.sockets = plan.sockets
    return report


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a smoke test: everything once, for a moment, nothing written"
    )
    parser.add_argument("--rounds", type=int, default=Plan().rounds)
    parser.add_argument("--codec", choices=("msgpack", "json"), default="msgpack")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "RESULTS.md")
    parser.add_argument(
        "--ratchet", action="store_true", help="measure sessions and sender keys beside other libraries instead"
    )
    parser.add_argument("--group", action="store_true", help="measure posts to a group of a thousand devices instead")
    parser.add_argument("--presence", action="store_true", help="measure 2,000 sockets that watch each other instead")
    parser.add_argument("--starting", action="store_true", help="measure how soon commands of the client begin instead")
    arguments = parser.parse_args()
    for name, other in OTHERS.items():
        if getattr(arguments, name):
            other.run(arguments.out, is_quick=arguments.quick)
            return
    plan = QUICK if arguments.quick else Plan(rounds=arguments.rounds)
    allow_files()
    with everything() as servers:
        report = asyncio.run(run(replace(plan, codec=arguments.codec), servers))
    text = write(report)
    print(text)
    if not arguments.quick:
        page = arguments.out.read_text(encoding="utf-8") if arguments.out.exists() else ""
        for section in [section_of(page, other.HEADING) for other in OTHERS.values()]:
            text = placed(text, section) if section else text
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
