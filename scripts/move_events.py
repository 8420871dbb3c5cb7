"""What happens to the cluster of `scripts.move_loop`, at random from a seed: workers and brokers leave, join and are killed, partitions move meanwhile.

Between two events the cluster is left alone: these quiet times are the control. An event lasts until what it broke runs again and has settled.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from scripts.move_lateness import QUIET, Timeline
from scripts.move_operator import Operator, PlannedMove
from scripts.nodes import Cluster, WorkerProcess
from scripts.services import Server, ServiceFailed


#: How long what was killed or stopped stays away: both shorter and longer than the session time-out of the workers (10 s).
AWAY_SECONDS = (0.5, 14.0)
QUIET_SECONDS = (4.0, 8.0)
#: A rebalance ends within this time after the last change.
SETTLE_SECONDS = 4.0
#: A kill in mid-move comes within this time after its announcement.
MOVE_SECONDS = 1.5
_STARTS = 3


@dataclass
class Events:
    """All events of a run, one at a time."""

    cluster: Cluster
    #: By the name that it has for the operator.
    workers: Mapping[str, WorkerProcess]
    #: How many partitions there are.
    partitions: int
    new_worker: Callable[[], WorkerProcess]
    chance: random.Random
    #: How much shorter all times are: for a short run.
    haste: float = 1.0
    counts: Counter[str] = field(default_factory=Counter)
    starts: list[tuple[float, str]] = field(default_factory=list)
    #: Set to end the run after the current event.
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._operator = Operator(self.cluster)
        self._begin(QUIET)

    @property
    def current(self) -> str:
        """What happens now."""
        return self.starts[-1][1]

    @property
    def timeline(self) -> Timeline:
        """What happened when."""
        return Timeline(self.starts)

    async def run(self, seconds: float, kinds: list[str]) -> None:
        """Have random events of these kinds happen for so long, or until `interrupted`: each kind once before any comes again. The last one is finished."""
        ends = time.monotonic() + seconds
        rest: list[str] = []
        while True:
            await self._pause(*QUIET_SECONDS)
            if time.monotonic() >= ends or self.interrupted.is_set():
                return
            if not rest:
                rest = self.chance.sample(kinds, len(kinds))
            kind = rest.pop()
            self._begin(kind)
            await self.actions[kind]()
            await self._pause(SETTLE_SECONDS, SETTLE_SECONDS)
            self._begin(QUIET)

    @property
    def actions(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Every kind of event."""
        return {
            "a worker is killed": lambda: self._away([self._worker()], Server.kill),
            "a worker is stopped": lambda: self._away([self._worker()], Server.stop),
            "all workers are killed": lambda: self._away(list(self.cluster.workers), Server.kill),
            "all workers are stopped": lambda: self._away(list(self.cluster.workers), Server.stop),
            "a broker is killed": lambda: self._away([self._broker()], Server.kill),
            "a broker is stopped": lambda: self._away([self._broker()], Server.stop),
            "a worker joins and leaves": self._join_and_leave,
            "a partition moves": self._move,
            "a move, its old owner is killed": lambda: self._move(lambda move: [self.workers[move.source or ""]]),
            "a move, its new owner is killed": lambda: self._move(lambda move: [self.workers[move.destination]]),
            "a move, a broker is killed": lambda: self._move(lambda _: [self._broker()]),
            "a worker is drained and comes back": self._drain,
        }

    def _begin(self, kind: str) -> None:
        self.counts[kind] += 1
        self.starts.append((time.time(), kind))

    def _worker(self) -> WorkerProcess:
        return self.chance.choice(self.cluster.workers)

    def _broker(self) -> Server:
        return self.chance.choice(self.cluster.brokers)

    async def _away(self, servers: Sequence[Server], end: Callable[[Server], None]) -> None:
        await asyncio.gather(*(asyncio.to_thread(end, server) for server in servers))
        await self._pause(*AWAY_SECONDS)
        await asyncio.gather(*(asyncio.to_thread(_start, server) for server in servers))

    async def _move(self, victims: Callable[[PlannedMove], list[Server]] | None = None) -> None:
        """Move a partition to another worker; meanwhile something may be killed."""
        planned = await self._plan_move()
        if planned is None:
            return
        announced = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            applying = tasks.create_task(self._operator.apply(planned, announced))
            if victims is not None:
                await announced.wait()
                await asyncio.sleep(self.chance.uniform(0, MOVE_SECONDS))
                await self._away(victims(planned), Server.kill)
        if not applying.result():
            await self._operator.abort()

    async def _plan_move(self) -> PlannedMove | None:
        """A plan for a partition and a worker that does not have it; None if all are refused, as while workers are busy or lost."""
        number = str(self.chance.randrange(self.partitions))
        for worker in self.chance.sample(sorted(self.workers), len(self.workers)):
            planned = await self._operator.plan("move", number, "--to", worker)
            if planned is not None and planned.source is not None:
                return planned
        return None

    async def _drain(self) -> None:
        """Move all partitions of a worker to the others; a restart makes it one of them again."""
        name = self.chance.choice(sorted(self.workers))
        planned = await self._operator.plan("drain", name)
        if planned is not None and not await self._operator.apply(planned, asyncio.Event()):
            await self._operator.abort()
        await self._away([self.workers[name]], Server.stop)

    async def _join_and_leave(self) -> None:
        worker = self.new_worker()
        try:
            await asyncio.to_thread(_start, worker)
            await self._pause(*QUIET_SECONDS)
        finally:
            await asyncio.to_thread(worker.remove)

    async def _pause(self, shortest: float, longest: float) -> None:
        await asyncio.sleep(self.chance.uniform(shortest, longest) * self.haste)


def _start(server: Server) -> None:
    """Start it; on a machine that does much else at once a start may take longer than `Server` allows."""
    for _ in range(_STARTS - 1):
        with suppress(ServiceFailed):
            return server.start()
    return server.start()
