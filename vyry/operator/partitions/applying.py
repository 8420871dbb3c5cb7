"""Applies a plan move by move, and follows each move through its phases.

The command only writes wishes and watches; the workers move the partitions. So a plan whose command has ended goes on at the next `apply` where it was.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from vyry.kafka.topic import add_partitions, read_partitions
from vyry.mail.partitions import Cluster, PartitionState
from vyry.mail.workers import MoveCause
from vyry.operator.partitions import changes
from vyry.operator.partitions.model import Move, Plan, PlanKind, PlanStatus, PlanStuck
from vyry.operator.partitions.plans import require_possible
from vyry.storage.partitions import PartitionStore


#: Workers look at the wishes every second.
POLL_SECONDS: Final = 0.2
#: A move that stays in one phase for so long is an error. A lost worker is noticed within a fraction of this.
PHASE_SECONDS: Final = 60.0
#: A move before any was measured, and the first report after a move.
_MOVE_SECONDS: Final = 2.0
_SETTLE_SECONDS: Final = 1.0
_HISTORY: Final = 50


class Phase(Enum):
    """How far one move is."""

    #: The workers have not followed the wish yet.
    ANNOUNCED = "announced"
    #: The worker of before does not have the partition any more.
    RELEASED = "released"
    #: The destination has it.
    TAKEN = "taken"
    #: The destination has reported it, and its mail is not late.
    SETTLED = "settled"


_PHASES: Final = tuple(Phase)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A move that has reached a phase."""

    move: Move
    phase: Phase
    #: The moves of the plan that have settled, and all of them.
    settled: int
    moves: int
    #: How long the rest will take, as far as known.
    seconds_left: float


Report = Callable[[Progress], None]


async def apply_plan(plan: Plan, report: Report, *, at_once: bool, kafka: str) -> Plan:
    """Apply a plan that `changes.start_plan` has started, one move at a time or all at once. Raises PlanRefused, PlanStuck, Unavailable, TopicUnavailable."""
    return await _Application(plan, report, kafka).run(at_once=at_once)


async def follow_abort(plan: Plan, report: Report) -> None:
    """Wait until the partitions of an aborted plan are where they were. Raises PlanStuck, Unavailable."""
    cluster = await changes.read_cluster()
    live = {worker.name for worker in cluster.receivers}
    back = [
        Move(move.partition, move.destination, move.source)
        for move in plan.moves
        if move.source and move.source in live and cluster.partitions[move.partition].owner != move.source
    ]
    await _Application(replace(plan, moves=tuple(back), settled=()), report, kafka="").follow(back)


async def seconds_per_move() -> float:
    """How long one move takes: the mean of the last that operators made, and the report after it. Raises Unavailable."""
    past = await PartitionStore().read_history(_HISTORY)
    found = [move.seconds for move in past if move.cause is MoveCause.OPERATOR]
    return (sum(found) / len(found) if found else _MOVE_SECONDS) + _SETTLE_SECONDS


class _Application:
    """A plan on its way."""

    def __init__(self, plan: Plan, report: Report, kafka: str) -> None:
        self._plan = plan
        self._report = report
        self._kafka = kafka
        self._started = time.monotonic()
        self._done = 0
        self._per_move = _MOVE_SECONDS + _SETTLE_SECONDS

    async def run(self, *, at_once: bool) -> Plan:
        self._per_move = await seconds_per_move()
        if self._plan.kind is PlanKind.GROW:
            await self._grow()
        if at_once:
            await changes.begin_drain(self._plan)
        waiting = self._plan.waiting
        for group in [waiting] if at_once else [(move,) for move in waiting]:
            cluster = await changes.read_cluster()
            await changes.announce(move for move in group if not _is_taken(move, cluster))
            await self.follow(group)
        await changes.begin_drain(self._plan)
        await self._wait(self._is_complete, "the workers have not taken over")
        return await changes.finish_plan(self._plan)

    async def follow(self, moves: Sequence[Move]) -> None:
        """Report the phases of these moves until all have settled."""
        reached = dict.fromkeys(moves, 0)

        async def have_settled(cluster: Cluster) -> bool:
            for move in moves:
                # A fast move passes several phases between two looks: each is reported.
                for phase in _PHASES[reached[move] : _PHASES.index(phase_of(move, cluster)) + 1]:
                    reached[move] += 1
                    await self._reached(move, phase)
            return all(count == len(_PHASES) for count in reached.values())

        await self._wait(have_settled, "it has not settled")

    async def _reached(self, move: Move, phase: Phase) -> None:
        if phase is Phase.SETTLED:
            self._done += 1
            self._per_move = (time.monotonic() - self._started) / self._done
            if self._plan.status is PlanStatus.APPLYING:
                self._plan = await changes.record_settled(self._plan, [move.partition])
        total = len(self._plan.moves)
        left = total - len(self._plan.settled) if self._plan.settled else total - self._done
        self._report(
            Progress(move=move, phase=phase, settled=total - left, moves=total, seconds_left=left * self._per_move)
        )

    async def _grow(self) -> None:
        """Add the partitions to the topic first: a node that uses the new number finds them."""
        topic = await read_partitions(self._kafka)
        if topic is not None and topic.partitions < self._plan.partitions:
            await add_partitions(self._kafka, self._plan.partitions)
        await changes.raise_generation(self._plan.partitions)

    async def _is_complete(self, cluster: Cluster) -> bool:
        """Whether the drained worker has nothing left, and each new partition has a worker."""
        new = cluster.partitions[len(self._plan.basis.owners) :]
        states = {cluster.state_of(each) for each in new}
        has_left = any(each.owner == self._plan.worker for each in cluster.partitions) if self._plan.worker else False
        return not has_left and PartitionState.ORPHANED not in states

    async def _wait(self, is_done: Callable[[Cluster], Awaitable[bool]], problem: str) -> None:
        """Look at the cluster until it is done. Raises PlanRefused once a move cannot be made any more, PlanStuck."""
        until = time.monotonic() + PHASE_SECONDS
        done = self._done
        while not await is_done(cluster := await changes.read_cluster()):
            if self._plan.status is PlanStatus.APPLYING:
                require_possible(self._plan, cluster)
            if self._done > done:
                until, done = time.monotonic() + PHASE_SECONDS, self._done
            if time.monotonic() > until:
                raise PlanStuck(self._stuck_text(problem))
            await asyncio.sleep(POLL_SECONDS)

    def _stuck_text(self, problem: str) -> str:
        if self._plan.status is PlanStatus.ABORTED:
            return f"Plan {self._plan.state_id} is aborted, but after {PHASE_SECONDS:.0f} s not all partitions are back: see `vyry partitions`."
        return (
            f"Plan {self._plan.state_id} waits for {PHASE_SECONDS:.0f} s: {problem}. See `vyry partitions`; then run "
            f"`vyry partitions apply {self._plan.state_id}` to go on, or `vyry partitions abort`."
        )


def phase_of(move: Move, cluster: Cluster) -> Phase:
    """How far the move is."""
    partition = cluster.partitions[move.partition]
    if not _is_taken(move, cluster):
        return Phase.ANNOUNCED if partition.owner == move.source else Phase.RELEASED
    has_report = partition.reported_at is not None and (
        partition.assigned_at is None or partition.reported_at > partition.assigned_at
    )
    return Phase.SETTLED if has_report and cluster.state_of(partition) is PartitionState.OK else Phase.TAKEN


def _is_taken(move: Move, cluster: Cluster) -> bool:
    return cluster.partitions[move.partition].owner == move.destination
