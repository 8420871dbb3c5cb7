"""The workers of a node and the partitions of the work topic, as the database shows them at one time.

The database decides how many partitions there are, which worker each of them should have, and which it has. No promise about mail depends on any of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Final
from uuid import UUID


#: A worker writes its heartbeat every second; without one for so long it counts as lost.
WORKER_LOST_SECONDS: Final = 5.0
#: An envelope without a sequence number for longer makes its partition late.
LATE_SECONDS: Final = 1.0
#: A partition is stalled when records wait and its worker has read none for so long.
STALLED_SECONDS: Final = 5.0
#: What a partition costs without mail, in envelopes a second: it spreads partitions evenly while no mail is under way.
IDLE_LOAD: Final = 0.01


class PartitionState(Enum):
    """How the mail of a partition moves; every state but OK is bad."""

    OK = "ok"
    #: Mail waits for its sequence number for longer than a second.
    LATE = "late"
    #: Records wait, and the worker reads none.
    STALLED = "stalled"
    #: No live worker has it.
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker process and its last report."""

    name: str
    host: str
    version: str
    #: A new one for each start of the process.
    boot: UUID
    started_at: datetime
    heartbeat_at: datetime
    #: The share of one core.
    cpu: float
    memory_bytes: int
    is_draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition: its worker, what the operator wants, and what its worker reported."""

    number: int
    #: The name of the worker that has it, None while none has.
    owner: str | None = None
    assigned_at: datetime | None = None
    reported_at: datetime | None = None
    #: The worker that the operator wants.
    target: str | None = None
    #: Whether the target stays after the partition has arrived there.
    is_pinned: bool = False
    records_behind: int = 0
    seconds_behind: float = 0.0
    #: Means over the last minute.
    received_per_second: float = 0.0
    deposited_per_second: float = 0.0
    #: When the worker last read a record.
    last_record_at: datetime | None = None
    #: The highest age of an envelope at its deposit in the last minute.
    worst_seconds: float = 0.0
    #: Envelopes without a sequence number: how many mailboxes have some, their bytes, and the age of the oldest.
    mailboxes_waiting: int = 0
    bytes_waiting: int = 0
    oldest_seconds: float = 0.0

    @property
    def load(self) -> float:
        """The work that it gives to its worker, for comparison with other partitions."""
        return IDLE_LOAD + max(self.received_per_second, self.deposited_per_second)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """All workers and all partitions. It has no slots, because it remembers what it has computed."""

    #: The time of the database when it was read.
    seen_at: datetime
    workers: tuple[Worker, ...]
    #: By number, without gaps.
    partitions: tuple[Partition, ...]
    #: Rises each time the number of partitions changes.
    generation: int
    #: The age of the oldest envelope without a sequence number, also where there is no map of partitions yet.
    oldest_seconds: float = 0.0
    #: Whether all waiting mail was counted; otherwise at least so much waits.
    is_count_complete: bool = True

    def is_alive(self, worker: Worker) -> bool:
        """Whether its heartbeat is recent."""
        return (self.seen_at - worker.heartbeat_at).total_seconds() <= WORKER_LOST_SECONDS

    @cached_property
    def live_workers(self) -> tuple[Worker, ...]:
        """The workers with a recent heartbeat."""
        return tuple(worker for worker in self.workers if self.is_alive(worker))

    def state_of(self, partition: Partition) -> PartitionState:
        """The worst state that applies."""
        if partition.owner not in self.load_by_worker:
            return PartitionState.ORPHANED
        last = partition.last_record_at or partition.assigned_at
        is_reading = last is None or (self.seen_at - last).total_seconds() <= STALLED_SECONDS
        if partition.records_behind > 0 and not is_reading:
            return PartitionState.STALLED
        return PartitionState.LATE if partition.oldest_seconds > LATE_SECONDS else PartitionState.OK

    @cached_property
    def receivers(self) -> tuple[Worker, ...]:
        """The live workers that may get partitions."""
        return tuple(worker for worker in self.live_workers if not worker.is_draining)

    @cached_property
    def load_by_worker(self) -> Mapping[str, float]:
        """The load of each live worker."""
        found = {worker.name: 0.0 for worker in self.live_workers}
        for each in self.partitions:
            if each.owner in found:
                found[each.owner] += each.load
        return found

    @property
    def skew(self) -> float:
        """The load of the busiest worker divided by the mean; 1 when all have the same, or without workers. Draining workers do not count."""
        loads = self.load_by_worker
        return skew_of([loads[worker.name] for worker in self.receivers])


def skew_of(loads: Sequence[float]) -> float:
    """The highest load divided by the mean."""
    return max(loads) * len(loads) / sum(loads) if loads and sum(loads) else 1.0
