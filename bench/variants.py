"""The servers under load: the floor and Vyry in its sizes, each with its processes, its people and a `Load` for each shape."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg

from bench.costs import busy_seconds, disk_bytes, processor_seconds, read_stats
from bench.load import Load, Member, Pair
from bench.node_client import NodeClient
from bench.seed import AccountSeeder
from bench.shapes import Shape
from scripts.nodes import ROOT, AllInOneProcess, Cluster, open_cluster
from scripts.services import Postgres, Server


SIZES: Final = ("embedded", "near", "far")


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


@dataclass(frozen=True, slots=True)
class CostCounters:
    """Counters at one moment."""

    processor: dict[str, float]
    written: int
    #: Processor time of the machine, less that of the benchmark and of all that it started.
    foreign: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to keep the promise under one load, and the processes it takes."""

    name: str
    load: Load
    processes: dict[str, Server]
    #: Whose written bytes count: PostgreSQL's log, or the process's own files.
    writer: Server
    keeps_offline: bool = True
    #: More envelopes a second than this would only wait.
    max_rate: int | None = None

    async def read_costs(self) -> CostCounters:
        """What the processes have used so far."""
        stats, busy = read_stats(), busy_seconds()
        processor = {name: processor_seconds(server.pid, stats) for name, server in self.processes.items()}
        return CostCounters(processor, await _written(self.writer), busy - processor_seconds(os.getpid(), stats))


async def _written(writer: Server) -> int:
    if not isinstance(writer, Postgres):
        return disk_bytes(writer.pid)
    connection = await asyncpg.connect(writer.url)
    try:
        return int(await connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class Tree:
    """The servers of one source tree that the wanted sizes take."""

    sizes: Sequence[str]
    cluster: Cluster | None
    alone: AllInOneProcess | None

    async def variants(self, http: aiohttp.ClientSession, shape: Shape, suffix: str = "") -> list[Variant]:
        """One for each size, with people of their own."""
        return [await self._variant(http, shape, size, suffix) for size in self.sizes]

    async def _variant(self, http: aiohttp.ClientSession, shape: Shape, size: str, suffix: str) -> Variant:
        if size == "embedded":
            assert self.alone is not None
            seeder = AccountSeeder(http, self.alone.url, self.alone.otp_file)
            load = vyry_load(await sign_up(seeder, shape, self.alone.url), shape)
            return Variant(name=size + suffix, load=load, processes={"start": self.alone}, writer=self.alone)
        assert self.cluster is not None
        cluster, (here, there) = self.cluster, self.cluster.webs
        processes: dict[str, Server] = {"web": here, "other web": there, "worker": cluster.workers[0]}
        processes |= {"postgres": cluster.postgres, "redis": cluster.redis, "kafka": cluster.kafka}
        seeder = AccountSeeder(http, here.url, cluster.otp_file)
        load = vyry_load(await sign_up(seeder, shape, (there if size == "far" else here).url), shape)
        return Variant(name=size + suffix, load=load, processes=processes, writer=cluster.postgres)


@contextmanager
def open_tree(sizes: Sequence[str], source: Path = ROOT) -> Iterator[Tree]:
    """Start what the sizes take, with the program of that tree."""
    with ExitStack() as stack:
        needs_cluster = any(size != "embedded" for size in sizes)
        cluster = stack.enter_context(open_cluster(webs=2, workers=1, source=source)) if needs_cluster else None
        settings = {"PYTHONPATH": str(source)}
        alone = stack.enter_context(AllInOneProcess(settings)) if "embedded" in sizes else None
        yield Tree(sizes, cluster, alone)


async def sign_up(seeder: AccountSeeder, shape: Shape, receivers_url: str) -> list[Pair]:
    """People of this node, whose receivers connect to that one, and their conversations."""
    members = await seeder.members(shape.senders + shape.receivers, with_keys=True)
    receivers = [replace(member, url=receivers_url) for member in members[shape.senders :]]
    return await seeder.pairs(shape.couples(members[: shape.senders], receivers))


def floor_variant(floor: BaselineProcess, postgres: Postgres, shape: Shape) -> Variant:
    """The floor knows no accounts: a token is a name."""
    senders, receivers = (
        [Member(floor.url, f"{shape.name}-{role}{number}", f"{shape.name}-{role}{number}") for number in range(count)]
        for role, count in (("s", shape.senders), ("r", shape.receivers))
    )
    pairs = [Pair(*couple, "conversation") for couple in shape.couples(senders, receivers)]
    processes: dict[str, Server] = {"floor": floor, "postgres": postgres}
    return Variant(
        name="floor", load=vyry_load(pairs, shape), processes=processes, writer=postgres, keeps_offline=False
    )


def vyry_load(pairs: list[Pair], shape: Shape) -> Load:
    """A load in the frames of Vyry."""
    client = partial(NodeClient, pairs=pairs, codec=shape.codec, acknowledge_seconds=shape.acknowledge_seconds)
    return Load(pairs, client)
