"""A plan of an operator: which partitions move from which worker to which, and how far it is applied.

What a plan is about, Worker, Partition and Cluster, is in vyry/mail/partitions.py: storage uses it too, and may not import this package.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class PlanKind(Enum):
    """What the operator wants."""

    MOVE = "move"
    DRAIN = "drain"
    REBALANCE = "rebalance"
    GROW = "grow"


class PlanStatus(Enum):
    """How far a plan is applied."""

    PLANNED = "planned"
    #: Begun, and not ended: applying it again continues it.
    APPLYING = "applying"
    APPLIED = "applied"
    ABORTED = "aborted"
    FAILED = "failed"


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
