"""What workers write about themselves and their partitions, on PostgreSQL or SQLite. All times are those of the database."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from vyry.mail.assignment import Wishes
from vyry.mail.partitions import WORKER_LOST_SECONDS, Worker
from vyry.mail.workers import (
    HEARTBEAT_SECONDS,
    ClusterWishes,
    MoveCause,
    PartitionReport,
    PastMove,
    WorkerIdentity,
    WorkerReport,
)
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.partition_models import PartitionHistoryRow, PartitionRow, WorkerRow
from vyry.storage.partitions import read_waiting, to_worker
from vyry.storage.raw_sql import database_now, fetch


#: How long the rows of lost workers, and the history, are kept.
_KEEP_LOST: Final = timedelta(days=1)
_KEEP_HISTORY: Final = timedelta(days=90)
_CLAIM: Final = """
    INSERT INTO workers AS w (name, host, version, boot, started_at, heartbeat_at, cpu, memory_bytes) VALUES ($1, $2, $3, $4, $5, $5, 0, 0)
    ON CONFLICT (name) DO UPDATE SET host = excluded.host, version = excluded.version, boot = excluded.boot, started_at = excluded.started_at,
        heartbeat_at = excluded.heartbeat_at, cpu = 0, memory_bytes = 0
    WHERE w.boot = excluded.boot OR w.heartbeat_at < $6 OR w.boot = $7 AND w.heartbeat_at = $8 RETURNING name"""
#: Reports of partitions that the worker no longer has change nothing. A partition that moved away keeps its owner until the next one takes it; when none
#: does, it has no owner after `WORKER_LOST_SECONDS`.
_POSTGRES_REPORT: Final = """
    WITH alive AS (
        INSERT INTO workers AS w (name, host, version, boot, started_at, heartbeat_at, cpu, memory_bytes)
        VALUES ($1, $2, $3, $4, clock_timestamp(), clock_timestamp(), $5, $6)
        ON CONFLICT (name) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, cpu = excluded.cpu, memory_bytes = excluded.memory_bytes
        WHERE w.boot = excluded.boot RETURNING name
    ), reported AS (
        UPDATE partitions p SET reported_at = clock_timestamp(), records_behind = r.records_behind, seconds_behind = r.seconds_behind,
            received_per_second = r.received, deposited_per_second = r.deposited, worst_seconds = r.worst,
            last_record_at = coalesce(clock_timestamp() - make_interval(secs => r.idle), p.last_record_at)
        FROM jsonb_to_recordset($7::jsonb) AS
            r(number int, records_behind bigint, seconds_behind float8, received float8, deposited float8, worst float8, idle float8)
        WHERE p.number = r.number AND p.owner = $1 AND EXISTS (SELECT 1 FROM alive)
    ), released AS (
        UPDATE partitions p SET owner = NULL WHERE p.owner = $1 AND p.reported_at < clock_timestamp() - make_interval(secs => $8) AND EXISTS (SELECT 1 FROM alive)
            AND NOT (p.number IN (SELECT (r ->> 'number')::int FROM jsonb_array_elements($7::jsonb) r))
    ) SELECT name FROM alive"""
_SQLITE_HEARTBEAT: Final = """
    INSERT INTO workers AS w (name, host, version, boot, started_at, heartbeat_at, cpu, memory_bytes) VALUES ($1, $2, $3, $4, $5, $5, $6, $7)
    ON CONFLICT (name) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, cpu = excluded.cpu, memory_bytes = excluded.memory_bytes
    WHERE w.boot = excluded.boot RETURNING name"""
_SQLITE_REPORT: Final = """
    UPDATE partitions SET reported_at = $3, records_behind = $4, seconds_behind = $5, received_per_second = $6, deposited_per_second = $7,
        worst_seconds = $8, last_record_at = coalesce($9, last_record_at) WHERE number = $1 AND owner = $2"""
_SQLITE_RELEASE: Final = (
    "UPDATE partitions SET owner = NULL WHERE owner = $1 AND NOT (number = ANY($2)) AND reported_at < $3"
)
_RELEASE_AFTER: Final = timedelta(seconds=WORKER_LOST_SECONDS)
#: A name is free after this time without a heartbeat. Longer than a restart of the database: it makes all heartbeats old.
_FREE_AFTER: Final = timedelta(seconds=60)
_MAX_OLDEST: Final = 1_000
#: A worker with a recent heartbeat (its number is 1 when it drains), a target, and the map.
_WISHES: Final = """
    SELECT 'worker' AS kind, CASE WHEN is_draining THEN 1 ELSE 0 END AS number, name AS worker FROM workers WHERE heartbeat_at >= $1
    UNION ALL SELECT 'target', number, target FROM partitions WHERE target IS NOT NULL
    UNION ALL SELECT 'map', partitions, '' FROM partition_map"""
#: A write first makes a transaction the only writer on SQLite.
_LOCK_WORKER: Final = "UPDATE workers SET boot = boot WHERE name = $1 RETURNING name"
_TAKEN: Final = ("owner", "target", "assigned_at", "reported_at")
_RECORD_WORST: Final = """
    UPDATE partition_history SET worst_seconds = $4 WHERE to_worker = $1 AND partition = $2 AND at >= $3 AND worst_seconds < $4 RETURNING id"""
#: A worker that missed as many heartbeats when its partition went to another one was lost.
_MISSED: Final = timedelta(seconds=3 * HEARTBEAT_SECONDS)


class TortoiseWorkers:
    """WorkerStore on PostgreSQL or SQLite."""

    async def claim(self, worker: WorkerIdentity, lost: Worker | None = None) -> Worker | None:
        async with transaction() as tx:
            moment = await database_now(tx)
            known = (worker.name, worker.host, worker.version, worker.boot)
            instead_of = (lost.boot, lost.heartbeat_at) if lost else (worker.boot, moment)
            if not await fetch(tx, _CLAIM, *known, moment, moment - _FREE_AFTER, *instead_of):
                return to_worker(await WorkerRow.get(name=worker.name))
            await WorkerRow.filter(heartbeat_at__lt=moment - _KEEP_LOST).delete()
            await PartitionHistoryRow.filter(at__lt=moment - _KEEP_HISTORY).delete()
        return None

    async def report(self, worker: WorkerIdentity, report: WorkerReport) -> bool:
        if connection().capabilities.dialect == "sqlite":
            return await _report_to_sqlite(worker, report)
        known = (worker.name, worker.host, worker.version, worker.boot)
        reports = json.dumps([_packed(each) for each in report.partitions])
        async with database_guard():
            return bool(
                await fetch(
                    connection(),
                    _POSTGRES_REPORT,
                    *known,
                    report.cpu,
                    report.memory_bytes,
                    reports,
                    WORKER_LOST_SECONDS,
                )
            )

    async def take(self, worker: WorkerIdentity, numbers: Collection[int], seconds: float) -> list[PastMove]:
        async with transaction() as tx:
            # A write first, because it makes this transaction the only writer on SQLite.
            await fetch(tx, _LOCK_WORKER, worker.name)
            moment = await database_now(tx)
            # Locked, so that a wish that an operator writes meanwhile is not overwritten.
            found = PartitionRow.filter(number__in=list(numbers)).order_by("number").select_for_update()
            before = {row.number: row for row in await found}
            workers = {row.name: row for row in await WorkerRow.all()}
            rows = [_taken(before.get(number), number, worker.name, moment) for number in sorted(numbers)]
            await PartitionRow.bulk_create(rows, on_conflict=["number"], update_fields=_TAKEN)
            changed = [row for row in before.values() if row.owner != worker.name]
            moves = [_past_move(row, worker.name, workers.get(row.owner or ""), moment, seconds) for row in changed]
            await PartitionHistoryRow.bulk_create([_history_row(each) for each in moves])
        return moves

    async def record_worst(self, worker: WorkerIdentity, since: datetime, worst: Mapping[int, float]) -> None:
        async with database_guard():
            for partition, seconds in worst.items():
                await fetch(connection(), _RECORD_WORST, worker.name, partition, since, seconds)

    async def leave(self, worker: WorkerIdentity) -> None:
        async with database_guard():
            await WorkerRow.filter(name=worker.name, boot=worker.boot).delete()

    async def read_wishes(self) -> ClusterWishes:
        async with database_guard():
            now = await database_now(connection())
            rows = await fetch(connection(), _WISHES, now - _RELEASE_AFTER)
        wishes = Wishes(
            seen_at=now.timestamp(),
            targets={row["number"]: row["worker"] for row in rows if row["kind"] == "target"},
            draining=frozenset(row["worker"] for row in rows if row["kind"] == "worker" and row["number"]),
        )
        return ClusterWishes(
            wishes=wishes,
            live=frozenset(row["worker"] for row in rows if row["kind"] == "worker"),
            partitions=sum(row["number"] for row in rows if row["kind"] == "map"),
        )

    async def read_oldest(self) -> dict[int, float]:
        async with database_guard():
            return {number: each.oldest_seconds for number, each in (await read_waiting(_MAX_OLDEST)).items()}


async def _report_to_sqlite(worker: WorkerIdentity, report: WorkerReport) -> bool:
    async with transaction() as tx:
        now = await database_now(tx)
        known = (worker.name, worker.host, worker.version, worker.boot)
        if not await fetch(tx, _SQLITE_HEARTBEAT, *known, now, report.cpu, report.memory_bytes):
            return False
        for each in report.partitions:
            read_at = None if each.idle_seconds is None else now - timedelta(seconds=each.idle_seconds)
            rates = (each.received_per_second, each.deposited_per_second, each.worst_seconds)
            behind = (each.records_behind, each.seconds_behind)
            await fetch(tx, _SQLITE_REPORT, each.number, worker.name, now, *behind, *rates, read_at)
        numbers = [each.number for each in report.partitions]
        await fetch(tx, _SQLITE_RELEASE, worker.name, numbers, now - _RELEASE_AFTER)
    return True


def _packed(report: PartitionReport) -> dict[str, Any]:
    return {
        "number": report.number,
        "records_behind": report.records_behind,
        "seconds_behind": report.seconds_behind,
        "received": report.received_per_second,
        "deposited": report.deposited_per_second,
        "worst": report.worst_seconds,
        "idle": report.idle_seconds,
    }


def _taken(before: PartitionRow | None, number: int, worker: str, moment: datetime) -> PartitionRow:
    """The row of a partition that the worker has now; a target that is reached ends."""
    target = before.target if before and (before.is_pinned or before.target != worker) else None
    is_new = before is None or before.owner != worker
    assigned_at = moment if before is None or is_new else before.assigned_at
    return PartitionRow(number=number, owner=worker, target=target, assigned_at=assigned_at, reported_at=moment)


def _past_move(row: PartitionRow, worker: str, source: WorkerRow | None, moment: datetime, seconds: float) -> PastMove:
    cause = _cause(row, worker, source, moment)
    if cause is MoveCause.CRASH and source is not None:
        seconds = max(seconds, (moment - source.heartbeat_at).total_seconds())
    return PastMove(at=moment, partition=row.number, source=row.owner, destination=worker, cause=cause, seconds=seconds)


def _cause(row: PartitionRow, worker: str, source: WorkerRow | None, moment: datetime) -> MoveCause:
    if row.owner is None:
        return MoveCause.JOIN
    if source is None:
        return MoveCause.LEAVE
    if moment - source.heartbeat_at > _MISSED:
        return MoveCause.CRASH
    return MoveCause.OPERATOR if row.target == worker or source.is_draining else MoveCause.JOIN


def _history_row(move: PastMove) -> PartitionHistoryRow:
    return PartitionHistoryRow(
        at=move.at,
        partition=move.partition,
        from_worker=move.source,
        to_worker=move.destination,
        cause=move.cause.value,
        seconds=move.seconds,
        worst_seconds=move.worst_seconds,
    )
