"""`python -m bench.run`: measures the floor and Vyry in interleaved rounds on the same machine and services, and writes bench/RESULTS.md.

Four variants, each with the same 25 senders and 25 receivers: `floor` (bench/baseline.py), `embedded` (`vyry start`), `near` (a cluster, all sockets
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

from bench import group, presence, ratchet
from bench import startup as starting
from bench.costs import disk_bytes, processor_seconds
from bench.idle import BareServer, idle_costs, raise_file_limit
from bench.load import Figures, Load, Member, Pair
from bench.report import Report, write
from bench.results_page import find_section, replace_section
from bench.seed import AccountSeeder
from bench.wire import Codec
from scripts.nodes import ROOT, AllInOneProcess, Cluster, open_cluster
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
EXTRA_BENCHMARKS = {"ratchet": ratchet, "group": group, "presence": presence, "starting": starting}


class BaselineProcess(Server):
    """bench/baseline.py as a process."""

    name = "floor"

    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"
        self._database_url = postgres.url

    def _prepare(self) -> None:
        """Nothing: it makes its own table."""

    def _command(self) -> Sequence[str | Path]:
        options = ("--port", str(self.port), "--database-url", self._database_url)
        return ["/usr/bin/env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "bench.baseline", *options]


@dataclass(slots=True)
class Variant:
    """One way to keep the promise, and the processes it takes."""

    name: str
    pairs: list[Pair]
    processes: dict[str, Server]
    #: Whose written bytes count: PostgreSQL's log, or this process's own files.
    database_server: Postgres | AllInOneProcess
    load: Load = field(init=False)


@dataclass(frozen=True, slots=True)
class CostCounters:
    """Counters at one moment."""

    processor: dict[str, float]
    written: int


async def read_costs(variant: Variant) -> CostCounters:
    """What the variant's processes have used so far."""
    processor = {name: processor_seconds(server.pid) for name, server in variant.processes.items()}
    return CostCounters(processor, await _written(variant.database_server))


async def _written(writer: Postgres | AllInOneProcess) -> int:
    if isinstance(writer, AllInOneProcess):
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
                under_way = variant.load.run_closed_loop(in_flight, plan.seconds, plan.warm_up)
                await _note(report, variant, f"{in_flight} in flight", under_way)
            for rate in plan.rates:
                await _note(report, variant, f"{rate}/s", variant.load.run_open_loop(rate, plan.seconds))
            variant.load.disconnect()
            await asyncio.sleep(0.5)


async def _note(report: Report, variant: Variant, scenario: str, under_way: Awaitable[Figures]) -> None:
    before = await read_costs(variant)
    figures = await under_way
    after = await read_costs(variant)
    used = {name: after.processor[name] - before.processor[name] for name in after.processor}
    report.add_measurement((variant.name, scenario), figures, used, after.written - before.written)


async def measure_offline(plan: Plan, variants: Sequence[Variant], report: Report) -> None:
    """Post to receivers who are away, then let them all come back at once."""
    for variant in variants:
        await variant.load.connect(receivers=False)
        filled = await variant.load.post_to_offline(plan.offline)
        began = asyncio.get_running_loop().time()
        await variant.load.connect_receivers()
        took = asyncio.get_running_loop().time() - began
        report.offline[variant.name] = (filled, plan.offline / took)
        variant.load.disconnect()


async def sign_up_pairs(
    plan: Plan, http: aiohttp.ClientSession, installation: Cluster, alone: AllInOneProcess
) -> list[list[Pair]]:
    """The pairs of `embedded`, `near` and `far`."""
    here, there = installation.webs[0].url, installation.webs[1].url
    found = []
    for url, receiver_url, otp_file in (
        (alone.url, alone.url, alone.otp_file),
        (here, here, installation.otp_file),
        (here, there, installation.otp_file),
    ):
        registry = AccountSeeder(http, url, otp_file)
        members = await registry.members(2 * plan.pairs, with_keys=True)
        senders, receivers = members[: plan.pairs], members[plan.pairs :]
        moved = [replace(receiver, url=receiver_url) for receiver in receivers]
        found.append([await registry.pair(sender, receiver) for sender, receiver in zip(senders, moved, strict=True)])
    return found


def baseline_pairs(plan: Plan, url: str) -> list[Pair]:
    """The floor knows nobody: a token is a name."""
    return [
        Pair(Member(url, f"s{number}", f"s{number}"), Member(url, f"r{number}", f"r{number}"), "conversation")
        for number in range(plan.pairs)
    ]


def variants_of(
    installation: Cluster, alone: AllInOneProcess, floor: BaselineProcess, pairs: list[list[Pair]]
) -> list[Variant]:
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
def start_servers() -> Iterator[tuple[Cluster, AllInOneProcess, BaselineProcess, BareServer]]:
    """All servers of all variants, side by side: idle ones cost next to nothing."""
    with ExitStack() as stack:
        installation = stack.enter_context(open_cluster(webs=2, workers=1))
        alone = stack.enter_context(AllInOneProcess())
        floor = stack.enter_context(BaselineProcess(installation.postgres))
        yield installation, alone, floor, stack.enter_context(BareServer())


@asynccontextmanager
async def prepare_variants(
    plan: Plan, servers: tuple[Cluster, AllInOneProcess, BaselineProcess, BareServer]
) -> AsyncIterator[list[Variant]]:
    """The variants with their people signed up."""
    installation, alone, floor, _ = servers
    async with aiohttp.ClientSession() as http:
        pairs = [baseline_pairs(plan, floor.url), *await sign_up_pairs(plan, http, installation, alone)]
        variants = variants_of(installation, alone, floor, pairs)
        for variant in variants:
            variant.load = Load(variant.pairs, plan.codec)
        yield variants


async def run(plan: Plan, servers: tuple[Cluster, AllInOneProcess, BaselineProcess, BareServer]) -> Report:
    """Measure everything."""
    report = Report(plan.rounds, plan.seconds, plan.codec)
    async with prepare_variants(plan, servers) as variants:
        await measure(plan, variants, report)
        await measure_offline(plan, variants[1:], report)
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
    for name, other in EXTRA_BENCHMARKS.items():
        if getattr(arguments, name):
            other.run(arguments.out, is_quick=arguments.quick)
            return
    plan = QUICK if arguments.quick else Plan(rounds=arguments.rounds)
    raise_file_limit()
    with start_servers() as servers:
        report = asyncio.run(run(replace(plan, codec=arguments.codec), servers))
    text = write(report)
    print(text)
    if not arguments.quick:
        page = arguments.out.read_text(encoding="utf-8") if arguments.out.exists() else ""
        for section in [find_section(page, other.HEADING) for other in EXTRA_BENCHMARKS.values()]:
            text = replace_section(text, section) if section else text
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
