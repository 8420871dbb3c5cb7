"""Presence of 2,000 sockets: `make bench ARGS=--presence`.

What it costs to be watched and to watch, beside the same sockets that are neither; and how soon a friend gets the presence frame.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import aiohttp

from bench.costs import processor_seconds, resident_bytes
from bench.group import format_spread, percentile
from bench.idle import FIRST, raise_file_limit
from bench.load import Member
from bench.results_page import replace_section
from bench.seed import AccountSeeder
from bench.wire import Frame, Socket
from scripts.nodes import Cluster, WebProcess, open_cluster


HEADING: Final = "## Presence"
OPENED_AT_ONCE: Final = 25


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; people come in pairs of friends."""

    sockets: int = 2_000
    rounds: int = 3
    idle_seconds: float = 20.0
    changes: int = 200
    settle_seconds: float = 2.0


QUICK: Final = Plan(sockets=40, rounds=1, idle_seconds=0.5, changes=4, settle_seconds=0.2)


@dataclass(slots=True)
class Figures:
    """Of every round: KiB a socket, microseconds of processor a socket and second, and of a change; seconds until a friend has heard."""

    memory: dict[str, list[float]] = field(default_factory=dict)
    idle: dict[str, list[float]] = field(default_factory=dict)
    change: dict[str, list[float]] = field(default_factory=dict)
    frames: list[float] = field(default_factory=list)
    notice_seconds: list[float] = field(default_factory=list)


class PresenceClient:
    """One device that may watch its friend."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.socket: Socket | None = None
        self.frames = 0
        #: Resolves when the friend is said to be there, or not.
        self.awaited: tuple[bool, asyncio.Future[None]] | None = None

    async def open(self, watched: Member | None) -> None:
        """Connect, say hello, and watch if somebody is to be watched."""
        welcomed = asyncio.get_running_loop().create_future()

        def heard(socket: Socket, frame: Frame) -> None:
            if frame["type"] == "refused":
                raise RuntimeError(f"{frame}")
            if frame["type"] == "drained" and not welcomed.done():
                welcomed.set_result(None)
            self._on_frame(socket, frame)

        self.socket = await Socket.open(self.member.url, self.member.token, "msgpack", heard)
        hello = {"after": 0, "head": None, "client": {"name": "bench", "version": "1"}}
        self.socket.send({"type": "hello", "id": "hello", "payload": hello})
        await welcomed
        if watched is not None:
            self.socket.send({"type": "watch", "id": "watch", "payload": {"userIds": [watched.user_id]}})

    def close(self) -> None:
        """Leave without ceremony."""
        if self.socket is not None:
            self.socket.close()

    def wait_for_presence(self, is_online: bool) -> asyncio.Future[None]:  # noqa: FBT001  the frame's own field
        """Done when the friend is told to be there, or not."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.awaited = is_online, future
        return future

    def _on_frame(self, _: Socket, frame: Frame) -> None:
        if frame["type"] != "presence":
            return
        self.frames += 1
        is_online = cast("dict[str, Any]", frame["payload"])["isOnline"]
        if self.awaited is not None and self.awaited[0] == is_online:
            with suppress(asyncio.InvalidStateError):
                self.awaited[1].set_result(None)


Pairs = Sequence[tuple[PresenceClient, PresenceClient]]


async def sign_up_pairs(plan: Plan, installation: Cluster, *, are_shown: bool) -> Pairs:
    """Pairs of friends; `are_shown`: each lets the other know."""
    web = installation.webs[0]
    async with aiohttp.ClientSession() as http:
        registry = AccountSeeder(http, web.url, installation.otp_file)
        members = await registry.members(plan.sockets + FIRST, with_keys=False)
        pairs = list(zip(members[::2], members[1::2], strict=True))
        if are_shown:
            for pair in pairs:
                await registry.befriend(*pair)
    return [(PresenceClient(one), PresenceClient(other)) for one, other in pairs]


async def measure(installation: Cluster, plan: Plan) -> Figures:
    """All rounds: sockets nobody watches, then sockets that watch each other in pairs."""
    figures, web = Figures(), installation.webs[0]
    worlds = {
        "alone": await sign_up_pairs(plan, installation, are_shown=False),
        "watched": await sign_up_pairs(plan, installation, are_shown=True),
    }
    for number in range(plan.rounds):
        for name, pairs in worlds.items():
            print(f"round {number + 1} of {plan.rounds}: {name}", flush=True)
            # Signing up, and the sockets before, left memory behind: these meet a fresh process.
            await asyncio.to_thread(web.restart)
            await _round((name, pairs), web, plan, figures)
    return figures


async def _round(world: tuple[str, Pairs], web: WebProcess, plan: Plan, figures: Figures) -> None:
    name, pairs = world
    first, rest = pairs[: FIRST // 2], pairs[FIRST // 2 :]
    await _open(first, are_watched=name == "watched")
    await asyncio.sleep(plan.settle_seconds)
    before = resident_bytes(web.pid)
    await _open(rest, are_watched=name == "watched")
    await asyncio.sleep(plan.settle_seconds)
    figures.memory.setdefault(name, []).append((resident_bytes(web.pid) - before) / plan.sockets / 1024)
    used = processor_seconds(web.pid)
    await asyncio.sleep(plan.idle_seconds)
    used = processor_seconds(web.pid) - used
    figures.idle.setdefault(name, []).append(used / plan.sockets / plan.idle_seconds * 1e6)
    await _change(world, web, plan, figures)
    for pair in pairs:
        for person in pair:
            person.close()


async def _open(pairs: Pairs, *, are_watched: bool) -> None:
    gate = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one(person: PresenceClient, friend: PresenceClient) -> None:
        async with gate:
            await person.open(friend.member if are_watched else None)

    await asyncio.gather(*(one(*each) for one_, other in pairs for each in ((one_, other), (other, one_))))


async def _change(world: tuple[str, Pairs], web: WebProcess, plan: Plan, figures: Figures) -> None:
    """Some go and come back; their friends are told of both where they watch."""
    name, pairs = world[0], world[1][: plan.changes]
    is_watched = name == "watched"
    frames = sum(other.frames for _, other in pairs)
    used = processor_seconds(web.pid)
    gone = [other.wait_for_presence(is_online=False) for _, other in pairs]
    for one, _ in pairs:
        one.close()
    if is_watched:
        await asyncio.gather(*gone)
    for one, other in pairs:
        came, began = other.wait_for_presence(is_online=True), asyncio.get_running_loop().time()
        await one.open(other.member if is_watched else None)
        if is_watched:
            await came
            figures.notice_seconds.append(asyncio.get_running_loop().time() - began)
    used = processor_seconds(web.pid) - used
    figures.change.setdefault(name, []).append(used / len(pairs) * 1e6)
    if is_watched:
        figures.frames.append((sum(other.frames for _, other in pairs) - frames) / len(pairs))


def write(figures: Figures, plan: Plan) -> str:
    """The section of the page."""
    rows = [_row(figures, name) for name in ("alone", "watched")]
    ratios = [
        [mine / bare for mine, bare in zip(each["watched"], each["alone"], strict=True) if bare]
        for each in (figures.memory, figures.idle, figures.change)
    ]
    told = " | ".join(format_spread(each, ".2f") if each else "-" for each in ratios)
    return f"""{HEADING}

Written by `make bench ARGS=--presence`: {plan.rounds} interleaved rounds of {plan.sockets:,} sockets at one web node, with PostgreSQL, Redis and Kafka; median (lowest to highest). *Alone*: nobody shows their presence or watches. *Watched*: pairs of friends, each shown
to the other and watching. Idle: {plan.idle_seconds:g} s in which nothing happens but leases and heartbeats. A change: one of a pair closes the socket and comes back.

| sockets | KiB a socket | idle: us of processor a socket and second | us a change |
| --- | --- | --- | --- |
{chr(10).join(rows)}
| ratio | {told} |

Frames that a friend gets for one change: {format_spread(figures.frames, ".2f")}. From the start of the connection to the friend's presence frame: p50 {percentile(figures.notice_seconds, 0.5):.0f} ms, p99 {percentile(figures.notice_seconds, 0.99):.0f} ms, at worst {max(figures.notice_seconds) * 1000:.0f} ms.
"""


def _row(figures: Figures, name: str) -> str:
    cells = [format_spread(each[name], ".1f") for each in (figures.memory, figures.idle, figures.change)]
    return f"| {' | '.join([name, *cells])} |"


def run(out: Path, *, is_quick: bool) -> None:
    """Measure, print, and keep it in the page."""
    raise_file_limit()
    plan = QUICK if is_quick else Plan()
    with open_cluster(webs=1, workers=1) as installation:
        figures = asyncio.run(measure(installation, plan))
    section = write(figures, plan)
    print(section)
    if not is_quick:
        out.write_text(replace_section(out.read_text(encoding="utf-8"), section), encoding="utf-8")
