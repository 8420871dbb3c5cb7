"""`make bench ARGS=--storm`: 2,000 devices lose their sockets and come back within 10 s, while other people post to each other on the same node."""

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import aiohttp

from bench.idle import raise_file_limit
from bench.load import Load, Member
from bench.results_page import replace_section
from bench.seed import AccountSeeder
from bench.shapes import PAIRS
from bench.tables import spread, table
from bench.variants import sign_up, vyry_load
from bench.wire import Frame, Socket
from scripts.nodes import Cluster, open_cluster


HEADING: Final = "## A reconnect storm"
RETRY_SECONDS: Final = 1.0
#: Envelopes a second of the people who stay connected.
RATE: Final = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    devices: int = 2_000
    within_seconds: float = 10.0
    rounds: int = 3
    quiet_seconds: float = 5.0


QUICK: Final = Plan(devices=20, within_seconds=0.5, rounds=1, quiet_seconds=0.5)


@dataclass(slots=True)
class Figures:
    """Of every round, in seconds."""

    until_all_drained: list[float] = field(default_factory=list)
    longest_hello: list[float] = field(default_factory=list)
    attempts_refused: list[int] = field(default_factory=list)
    quiet_p99: list[float] = field(default_factory=list)
    storm_p99: list[float] = field(default_factory=list)
    storm_longest: list[float] = field(default_factory=list)


class Returning:
    """One device that connects until it is drained."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.socket: Socket | None = None
        self.refused = 0
        self._answer: asyncio.Future[bool] | None = None

    async def connect(self, delay: float) -> float:
        """Connect after the delay, again after a refusal; seconds from the first attempt until drained."""
        await asyncio.sleep(delay)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not await self._attempt():
            self.refused += 1
            await asyncio.sleep(RETRY_SECONDS)
        return loop.time() - began

    def drop(self) -> None:
        """Lose the connection."""
        if self.socket is not None:
            self.socket.close()

    async def _attempt(self) -> bool:
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self.socket = await Socket.open(self._member.url, self._member.token, "msgpack", self._on_frame)
        except (ConnectionError, TimeoutError):
            return False
        client = {"name": "bench", "version": "1"}
        self.socket.send({"type": "hello", "id": "hello", "payload": {"after": 0, "head": None, "client": client}})
        self.socket.closed.add_done_callback(lambda _: self._answered(is_drained=False))
        return await self._answer

    def _on_frame(self, _: Socket, frame: Frame) -> None:
        if frame["type"] in {"drained", "refused"}:
            self._answered(is_drained=frame["type"] == "drained")

    def _answered(self, *, is_drained: bool) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(is_drained)


async def measure(cluster: Cluster, plan: Plan) -> Figures:
    """All rounds."""
    url = cluster.webs[0].url
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        seeder = AccountSeeder(http, url, cluster.otp_file)
        shape = replace(PAIRS, senders=5, receivers=5)
        load = vyry_load(await sign_up(seeder, shape, url), shape)
        devices = [Returning(member) for member in await seeder.members(plan.devices, with_keys=False)]
    await load.connect()
    figures = Figures()
    await _storm(devices, plan)
    for number in range(plan.rounds):
        print(f"round {number + 1} of {plan.rounds}", flush=True)
        await _round(load, devices, plan, figures)
    await load.disconnect()
    for device in devices:
        device.drop()
    return figures


async def _storm(devices: Sequence[Returning], plan: Plan) -> list[float]:
    delays = [plan.within_seconds * number / len(devices) for number in range(len(devices))]
    return list(await asyncio.gather(*(each.connect(delay) for each, delay in zip(devices, delays, strict=True))))


async def _round(load: Load, devices: Sequence[Returning], plan: Plan, figures: Figures) -> None:
    figures.quiet_p99.append((await load.run_open_loop(RATE, plan.quiet_seconds)).percentile(0.99))
    for device in devices:
        device.drop()
        device.refused = 0
    loop = asyncio.get_running_loop()
    began = loop.time()
    others = asyncio.create_task(load.run_open_loop(RATE, plan.within_seconds))
    took = await _storm(devices, plan)
    figures.until_all_drained.append(loop.time() - began)
    figures.longest_hello.append(max(took))
    figures.attempts_refused.append(sum(device.refused for device in devices))
    meanwhile = await others
    figures.storm_p99.append(meanwhile.percentile(0.99))
    figures.storm_longest.append(max(meanwhile.latencies))


def write(figures: Figures, plan: Plan) -> str:
    """The section."""
    ratio = [busy / quiet for busy, quiet in zip(figures.storm_p99, figures.quiet_p99, strict=True)]
    rows = [
        ("until all are drained, s", spread(figures.until_all_drained)),
        ("longest time from the first attempt of a device until it is drained, s", spread(figures.longest_hello)),
        ("attempts that were refused", f"{statistics.median(figures.attempts_refused):,.0f}"),
        ("p99 of the others before, ms", spread([each * 1000 for each in figures.quiet_p99], 1)),
        ("p99 of the others meanwhile, ms", spread([each * 1000 for each in figures.storm_p99], 1)),
        ("ratio of the two", spread(ratio, 1)),
        ("latest delivery to the others, ms", spread([each * 1000 for each in figures.storm_longest], 1)),
    ]
    return f"""{HEADING}

Written by `make bench ARGS=--storm`: {plan.devices:,} devices come back within {plan.within_seconds:g} s to one web node, {plan.rounds} rounds; five other pairs exchange {RATE} envelopes a second there.

{table(("measured", "median (lowest to highest)"), rows)}
"""


def run(out: Path, *, is_quick: bool) -> None:
    """Measure, print, and keep it in the page."""
    raise_file_limit()
    plan = QUICK if is_quick else Plan()
    with open_cluster(webs=1, workers=1) as cluster:
        text = write(asyncio.run(measure(cluster, plan)), plan)
    print(text)
    if not is_quick:
        page = out.read_text(encoding="utf-8") if out.exists() else ""
        out.write_text(replace_section(page, text), encoding="utf-8")
