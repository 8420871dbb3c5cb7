"""The partitions, their map and what operators want of them, on PostgreSQL or SQLite. What workers write is in vyry/storage/workers.py.

A method called inside `transaction()` is part of that transaction.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from vyry.mail.partitions import Cluster, Partition, Worker
from vyry.mail.workers import MoveCause, PartitionMap, PastMove
from vyry.storage.database import connection, database_guard
from vyry.storage.partition_models import (
    PartitionHistoryRow,
    PartitionMapRow,
    PartitionPlanRow,
    PartitionRow,
    WorkerRow,
)
from vyry.storage.raw_sql import database_now, fetch


#: The one row of `partition_map`.
_MAP_ID: Final = 1
#: How many envelopes without a number are looked at: a long queue must not make the command slow.
_MAX_WAITING: Final = 100_000
_POSTGRES_WAITING: Final = """
    SELECT e.mailbox % $1 AS number, count(*) AS envelopes, count(DISTINCT e.mailbox) AS mailboxes, sum(e.size) AS bytes, extract(epoch FROM clock_timestamp() - min(e.accepted_at)) AS oldest
    FROM (SELECT mailbox, size, accepted_at FROM envelope WHERE seq IS NULL ORDER BY accepted_at LIMIT $2) e GROUP BY 1"""
#: There the mail store writes times as milliseconds. SQLite has fractions of unixepoch from 3.42 on only.
_SQLITE_WAITING: Final = """
    SELECT e.mailbox % $1 AS number, count(*) AS envelopes, count(DISTINCT e.mailbox) AS mailboxes, sum(e.size) AS bytes, (julianday('now') - 2440587.5) * 86400 - min(e.accepted_at) / 1000.0 AS oldest
    FROM (SELECT mailbox, size, accepted_at FROM envelope WHERE seq IS NULL ORDER BY accepted_at LIMIT $2) e GROUP BY 1"""
_CREATE_MAP: Final = """
    INSERT INTO partition_map (id, generation, partitions, topic, changed_at) VALUES ($1, 1, $2, $3, $4) ON CONFLICT (id) DO NOTHING RETURNING id"""
_GROW: Final = """
    UPDATE partition_map SET generation = generation + 1, partitions = $2, changed_at = $3 WHERE id = $1 AND partitions < $2 RETURNING generation"""
_DRAIN: Final = "UPDATE workers SET is_draining = $2 WHERE name = $1 RETURNING name"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlan:
    """A plan of an operator as it is stored (vyry/operator/partitions/model.py has its meaning)."""

    state_id: str
    kind: str
    created_at: datetime
    operator: str
    reason: str
    status: str
    moves: Any
    basis: Any
    progress: Any


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """The envelopes of a partition that have no number yet."""

    envelopes: int
    mailboxes: int
    size: int
    oldest_seconds: float


class PartitionStore:
    """What operators and producers read and write about partitions. Every method raises Unavailable while the database is down."""

    async def read_cluster(self) -> Cluster:
        """The workers and partitions, with the envelopes that wait for their number."""
        async with database_guard():
            cluster = await read_cluster()
            waiting = await read_waiting(_MAX_WAITING)
        partitions = [_with_waiting(each, waiting.get(each.number)) for each in cluster.partitions]
        is_complete = sum(each.envelopes for each in waiting.values()) < _MAX_WAITING
        oldest = max((each.oldest_seconds for each in waiting.values()), default=0.0)
        return replace(cluster, partitions=tuple(partitions), oldest_seconds=oldest, is_count_complete=is_complete)

    async def read_map(self) -> PartitionMap | None:
        """The map, None before the first `vyry migrate` with Kafka or the first `vyry start`."""
        async with database_guard():
            row = await PartitionMapRow.get_or_none(id=_MAP_ID)
        return _partition_map(row) if row else None

    async def create_map(self, partitions: int, topic: str) -> bool:
        """Store the first map; returns False, and changes nothing, when there is one."""
        async with database_guard():
            moment = await database_now(connection())
            return bool(await fetch(connection(), _CREATE_MAP, _MAP_ID, partitions, topic, moment))

    async def grow(self, partitions: int) -> int | None:
        """Raise the number of partitions; returns the new generation, None when there are already as many."""
        async with database_guard():
            rows = await fetch(connection(), _GROW, _MAP_ID, partitions, await database_now(connection()))
        return int(rows[0]["generation"]) if rows else None

    async def set_wishes(self, wishes: Mapping[int, tuple[str | None, bool]]) -> None:
        """Set target and pin of these partitions. Workers follow within two seconds."""
        rows = [PartitionRow(number=number, target=to, is_pinned=pin) for number, (to, pin) in sorted(wishes.items())]
        async with database_guard():
            await PartitionRow.bulk_create(rows, on_conflict=["number"], update_fields=["target", "is_pinned"])

    async def set_draining(self, worker: str, *, is_draining: bool) -> bool:
        """Have the worker give up its partitions, or no longer; returns whether there is a worker of this name."""
        async with database_guard():
            return bool(await fetch(connection(), _DRAIN, worker, is_draining))

    async def read_history(self, limit: int, since: datetime | None = None) -> list[PastMove]:
        """The last moves, newest first."""
        rows = PartitionHistoryRow.all() if since is None else PartitionHistoryRow.filter(at__gte=since)
        async with database_guard():
            return [_past_move(row) for row in await rows.order_by("-id").limit(limit)]


class PlanStore:
    """The plans of operators. Every method raises Unavailable while the database is down."""

    async def save(self, plan: StoredPlan) -> None:
        """Store a plan, or replace the one with its id."""
        values = asdict(plan)
        async with database_guard():
            await PartitionPlanRow.update_or_create(values, state_id=values.pop("state_id"))

    async def advance(self, state_id: str, *, status: str, expected: str, progress: Any) -> bool:
        """Change status and progress; returns False, and changes nothing, unless the status is the expected one."""
        async with database_guard():
            return bool(
                await PartitionPlanRow.filter(state_id=state_id, status=expected).update(
                    status=status, progress=progress
                )
            )

    async def delete_older(self, moment: datetime) -> None:
        """Delete the plans from before that moment."""
        async with database_guard():
            await PartitionPlanRow.filter(created_at__lt=moment).delete()

    async def load(self, state_id: str) -> StoredPlan | None:
        """The plan with this id."""
        async with database_guard():
            row = await PartitionPlanRow.get_or_none(state_id=state_id)
        return _stored_plan(row) if row else None

    async def load_newest(self, limit: int, status: str | None = None) -> list[StoredPlan]:
        """The last plans, newest first, those of one status only if it is given."""
        rows = PartitionPlanRow.all() if status is None else PartitionPlanRow.filter(status=status)
        async with database_guard():
            return [_stored_plan(row) for row in await rows.order_by("-created_at").limit(limit)]


async def read_cluster() -> Cluster:
    """The workers and partitions, without the envelopes that wait. To be called under `database_guard`."""
    moment = await database_now(connection())
    workers = await WorkerRow.all().order_by("name")
    row = await PartitionMapRow.get_or_none(id=_MAP_ID)
    known = {each.number: _partition(each) for each in await PartitionRow.all()}
    partitions = [known.get(number, Partition(number=number)) for number in range(row.partitions if row else 0)]
    return Cluster(
        seen_at=moment,
        workers=tuple(to_worker(each) for each in workers),
        partitions=tuple(partitions),
        generation=row.generation if row else 0,
    )


def to_worker(row: WorkerRow) -> Worker:
    """The worker of a row."""
    return Worker(
        name=row.name,
        host=row.host,
        version=row.version,
        boot=row.boot,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        cpu=row.cpu,
        memory_bytes=row.memory_bytes,
        is_draining=row.is_draining,
    )


async def read_waiting(limit: int) -> dict[int, WaitingMail]:
    """The envelopes without a number by partition, of the oldest `limit`. To be called under `database_guard`."""
    row = await PartitionMapRow.get_or_none(id=_MAP_ID)
    statement = _SQLITE_WAITING if connection().capabilities.dialect == "sqlite" else _POSTGRES_WAITING
    rows = await fetch(connection(), statement, row.partitions if row else 1, limit)
    return {
        int(each["number"]): WaitingMail(
            int(each["envelopes"]), int(each["mailboxes"]), int(each["bytes"]), max(0.0, float(each["oldest"]))
        )
        for each in rows
    }


def _partition_map(row: PartitionMapRow) -> PartitionMap:
    return PartitionMap(generation=row.generation, partitions=row.partitions, topic=row.topic)


def _partition(row: PartitionRow) -> Partition:
    return Partition(
        number=row.number,
        owner=row.owner,
        assigned_at=row.assigned_at,
        reported_at=row.reported_at,
        target=row.target,
        is_pinned=row.is_pinned,
        records_behind=row.records_behind,
        seconds_behind=row.seconds_behind,
        received_per_second=row.received_per_second,
        deposited_per_second=row.deposited_per_second,
        last_record_at=row.last_record_at,
        worst_seconds=row.worst_seconds,
    )


def _with_waiting(partition: Partition, waiting: WaitingMail | None) -> Partition:
    if waiting is None:
        return partition
    return replace(
        partition,
        mailboxes_waiting=waiting.mailboxes,
        bytes_waiting=waiting.size,
        oldest_seconds=waiting.oldest_seconds,
    )


def _past_move(row: PartitionHistoryRow) -> PastMove:
    return PastMove(
        at=row.at,
        partition=row.partition,
        source=row.from_worker,
        destination=row.to_worker,
        cause=MoveCause(row.cause),
        seconds=row.seconds,
        worst_seconds=row.worst_seconds,
    )


def _stored_plan(row: PartitionPlanRow) -> StoredPlan:
    return StoredPlan(
        state_id=row.state_id,
        kind=row.kind,
        created_at=row.created_at,
        operator=row.operator,
        reason=row.reason,
        status=row.status,
        moves=row.moves,
        basis=row.basis,
        progress=row.progress,
    )
