"""What a worker reports of itself and of its partitions, and what it asks of a database for that.

Only the reports go through the database: which worker reads which partition is decided in Kafka's group, by the wishes that the database has.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

from vyry.mail.partitions import Cluster, Worker


HEARTBEAT_SECONDS: Final = 1.0
MAX_WORKER_NAME: Final = 64


class MoveCause(Enum):
    """Why a partition got another worker."""

    #: The operator asked for it: a target, a pin, or a drain.
    OPERATOR = "operator"
    #: A worker joined, and got its share.
    JOIN = "join"
    #: The worker before was stopped.
    LEAVE = "leave"
    #: The worker before was lost.
    CRASH = "crash"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMap:
    """How mailboxes map to partitions."""

    #: Rises each time the number of partitions changes.
    generation: int
    partitions: int
    #: The work topic with its prefix.
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """What does not change while a worker process runs."""

    name: str
    host: str
    version: str
    #: A new one for each start of the process.
    boot: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionReport:
    """What a worker measured of one of its partitions."""

    number: int
    records_behind: int = 0
    seconds_behind: float = 0.0
    #: Means over the last minute.
    received_per_second: float = 0.0
    deposited_per_second: float = 0.0
    #: Since the last record was read, None before the first.
    idle_seconds: float | None = None
    #: The highest age of an envelope at its deposit in the last minute.
    worst_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """A heartbeat: the share of one core, the resident memory, and the partitions of the worker."""

    cpu: float
    memory_bytes: int
    partitions: Sequence[PartitionReport] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMove:
    """A partition that got another worker."""

    at: datetime
    partition: int
    source: str | None
    destination: str | None
    cause: MoveCause
    #: How long no worker had it.
    seconds: float
    #: The highest age of an envelope at its deposit meanwhile.
    worst_seconds: float = 0.0


class WorkerStore(Protocol):
    """What a worker writes and reads. Every method raises Unavailable while the database is down."""

    async def claim(self, worker: WorkerIdentity, lost: Worker | None = None) -> Worker | None:
        """Take the name for this process. Returns the worker that has it, and changes nothing, when that one has a recent heartbeat.

        With `lost` the heartbeat of that worker is not recent enough if it has written none since.
        """
        ...

    async def report(self, worker: WorkerIdentity, report: WorkerReport) -> bool:
        """Write a heartbeat and the reports of the partitions that the worker has, in one statement. Returns False when another process has the name."""
        ...

    async def take(self, worker: WorkerIdentity, numbers: Collection[int], seconds: float) -> list[PastMove]:
        """The worker has exactly these partitions from now on, after a rebalance of so many seconds.

        Returns those that another worker had before, and stores them in the history. A target that is reached and not pinned is cleared.
        """
        ...

    async def record_worst(self, worker: WorkerIdentity, since: datetime, worst: dict[int, float]) -> None:
        """Raise the worst age of the moves to this worker since then, by partition."""
        ...

    async def leave(self, worker: WorkerIdentity) -> None:
        """The worker stops: delete its row, unless another process has the name."""
        ...

    async def read_cluster(self) -> Cluster:
        """The workers and partitions, without what waits in the mailboxes."""
        ...
