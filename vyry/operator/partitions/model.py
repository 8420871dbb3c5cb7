"""A plan of an operator: which partitions move from which worker to which, and how far it is applied.

What a plan is about, Worker, Partition and Cluster, is in vyry/mail/partitions.py: storage uses it too, and may not import this package.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from vyry.errors import CommandError, OperationRefused


class PlanRefused(OperationRefused):
    """The state of the cluster does not allow it; nothing was changed. The text says what to do."""


class NotInCluster(CommandError):
    """There is no such worker, partition or plan. The text says how to list them."""


class PlanStuck(CommandError):
    """A move has not ended for a long time; the plan can be continued or aborted. The text says how far it is."""


class PlanKind(Enum):
    """What the operator wants."""

    MOVE = "move"
    DRAIN = "drain"
    REBALANCE = "rebalance"
    GROW = "grow"


class PlanStatus(Enum):
    """How far a plan is applied."""

    PLANNED = "planned"
    #: Started and not finished: applying it again continues it.
    APPLYING = "applying"
    APPLIED = "applied"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Move:
    """One partition and the two workers; the source is None for a partition that no worker has."""

    partition: int
    source: str | None
    destination: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator wants of a partition."""

    target: str | None = None
    is_pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a plan depends on: it may be applied only while all of this is so."""

    #: The names of the live workers, each with whether it drains.
    workers: dict[str, bool]
    #: The worker and the wish of each partition, by number.
    owners: tuple[str | None, ...]
    wishes: tuple[Wish, ...]
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan. It changes nothing before it is applied."""

    #: A short hash of all below that decides what it does.
    state_id: str
    kind: PlanKind
    moves: tuple[Move, ...]
    basis: Basis
    #: The worker to drain.
    worker: str | None = None
    #: The number of partitions afterwards.
    partitions: int
    created_at: datetime
    operator: str = ""
    reason: str = ""
    status: PlanStatus = PlanStatus.PLANNED
    #: The partitions whose move has settled.
    settled: tuple[int, ...] = ()

    @property
    def waiting(self) -> tuple[Move, ...]:
        """The moves that have not settled."""
        return tuple(move for move in self.moves if move.partition not in self.settled)

    @property
    def is_needless(self) -> bool:
        """Whether it would change nothing: such a plan is not stored."""
        return self.kind is PlanKind.REBALANCE and not self.moves
