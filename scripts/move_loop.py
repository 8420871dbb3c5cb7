"""`python -m scripts.move_loop [--minutes 10] [--seed N] [--rate 300]`: two web nodes and three workers carry mail while partitions move and processes are killed.

Devices post to each other at that rate and keep a history; an independent checker judges it: nothing lost, doubled or out of order, every chain holds, and
no delivery to a connected device later than 1 s after its commit. Exit code 0: all held. Exit code 1: what did not is printed. The table at the end has the
lateness for each kind of event. Ctrl-C ends the run after the current event.
"""

import argparse
import asyncio
import gc
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import aiohttp

from bench.seed import AccountSeeder
from scripts.move_events import Events
from scripts.move_lateness import ObservedPostgres, late_lines, measure, table
from scripts.move_load import Load, LoadDevice, Peer
from scripts.nodes import Cluster, WebProcess, WorkerProcess, open_cluster, start_servers
from tests.support.history_checker import check


DEVICES = 40
PARTITIONS = 12
#: How long what was accepted may take to arrive once nothing happens any more.
DELIVERY_SECONDS = 60.0
PROGRESS_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run: how long, how fast, and which events from which seed."""

    seconds: float
    seed: int
    rate: float = 300.0
    devices: int = DEVICES
    webs: int = 2
    workers: int = 3
    brokers: int = 3
    #: The kinds of events; none is all.
    kinds: Sequence[str] = ()
    #: Below 1 all pauses are shorter.
    haste: float = 1.0


@contextmanager
def open_observed_cluster(plan: Plan) -> Iterator[tuple[Cluster, Callable[[], WorkerProcess]]]:
    """The cluster, and what makes one more worker (not started). Each process has a database role of its own."""
    postgres = ObservedPostgres()
    with ExitStack() as stack:
        cluster = stack.enter_context(
            open_cluster(0, 0, brokers=plan.brokers, postgres=postgres, settings={"VYRY_PARTITIONS": str(PARTITIONS)})
        )
        names = [f"web-{number}" for number in range(1, plan.webs + 1)]
        names += [f"worker-{number}" for number in range(1, plan.workers + 1)]
        asyncio.run(postgres.observe([*names, "worker-joining"]))

        def environment(name: str) -> dict[str, str]:
            return {**cluster.environment, "DATABASE_URL": postgres.url_of(name), "VYRY_WORKER_NAME": name}

        webs = [WebProcess(environment(name)) for name in names[: plan.webs]]
        workers = [WorkerProcess(environment(name)) for name in names[plan.webs :]]
        start_servers(stack, [*webs, *workers])
        yield replace(cluster, webs=webs, workers=workers), lambda: WorkerProcess(environment("worker-joining"))


async def sign_up_devices(load: Load, cluster: Cluster, count: int) -> None:
    """Devices in a ring, at the web nodes in turn; each talks to three at the other one: only a worker, or what replaces it, has to do with that mail."""
    urls = [web.url for web in cluster.webs]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=35)) as http:
        seeders = [AccountSeeder(http, url, cluster.otp_file) for url in urls]
        members = await seeders[0].members(count, with_keys=True)
        for number, member in enumerate(members):
            first = number % len(urls)
            load.devices.append(LoadDevice(member, urls[first:] + urls[:first], load))
        for number, device in enumerate(load.devices):
            for step in (1, 3, 5):
                peer = members[(number + step) % count]
                pair = await seeders[0].pair(device.member, peer)
                device.peers.append(Peer(peer, pair.conversation_id))


@contextmanager
def collector_disabled() -> Iterator[None]:
    """Without Python's garbage collector: a collection would stop the load for longer the more history there is."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def report_progress(load: Load, events: Events) -> None:
    """A line each ten seconds, until cancelled."""
    began, before = time.monotonic(), 0
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        since = time.time() - PROGRESS_SECONDS
        late = sorted(seconds for at, seconds in load.records.recent if at >= since) or [0.0]
        rate, before = (load.records.accepted - before) / PROGRESS_SECONDS, load.records.accepted
        print(
            f"{time.monotonic() - began:6.0f} s  {load.records.accepted:,} accepted, {rate:.0f}/s, {load.undelivered} on their way; "
            f"p99 {late[int(len(late) * 0.99)]:.2f} s, worst {late[-1]:.2f} s; {events.current}",
            flush=True,
        )


async def drive(plan: Plan, load: Load, events: Events) -> float:
    """Connect, post while the events happen, and wait for the rest; returns the envelopes carried per second."""
    kinds = list(plan.kinds) or list(events.actions)
    async with asyncio.TaskGroup() as tasks:
        background = [tasks.create_task(device.listen()) for device in load.devices]
        background += [tasks.create_task(load.watch_pauses()), tasks.create_task(report_progress(load, events))]
        posting = tasks.create_task(load.run(plan.rate))
        began = time.monotonic()
        await events.run(plan.seconds, kinds)
        load.stop()
        await posting
        seconds = time.monotonic() - began
        await load.wait_until_delivered(DELIVERY_SECONDS)
        # What comes twice comes right behind.
        await asyncio.sleep(1)
        for task in background:
            task.cancel()
    return load.records.accepted / seconds


async def run(
    plan: Plan, cluster: Cluster, new_worker: Callable[[], WorkerProcess], say: Callable[[str], object] = print
) -> list[str]:
    """The whole run; returns what was wrong."""
    load = Load()
    await sign_up_devices(load, cluster, plan.devices)
    workers = {worker.environment["VYRY_WORKER_NAME"]: worker for worker in cluster.workers}
    events = Events(cluster, workers, PARTITIONS, new_worker, random.Random(plan.seed), plan.haste)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, events.interrupted.set)
    with collector_disabled():
        carried = await drive(plan, load, events)
    assert isinstance(cluster.postgres, ObservedPostgres)
    stations = await cluster.postgres.stations()
    lateness = list(measure(load.records, stations, events.timeline))
    wrong = [*load.records.faults, *check(load.records.history), *late_lines(lateness)]
    say(f"{load.records.accepted:,} envelopes, {carried:.0f}/s, in {len(events.starts)} quiet times and events")
    for line in table(lateness, events.counts):
        say(line)
    return wrong


def main() -> int:
    """Read the command line, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="the same events again, as far as processes allow")
    parser.add_argument("--rate", type=float, default=300.0, help="envelopes per second of all devices")
    parser.add_argument("--event", action="append", default=[], help="only this kind of event (may be repeated)")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(2**32)
    print(f"seed {seed}", flush=True)
    plan = Plan(seconds=arguments.minutes * 60, seed=seed, rate=arguments.rate, kinds=arguments.event)
    with open_observed_cluster(plan) as (cluster, new_worker):
        wrong = asyncio.run(run(plan, cluster, new_worker))
    print(*(wrong or ["0 lost, doubled or disordered; every chain held; nothing later than 1 s"]), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
