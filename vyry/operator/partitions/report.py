"""Workers and partitions in JSON, for `vyry partitions --json` and for pages. docs/operations.md describes the shape."""

from collections import Counter
from typing import Any

from vyry.kernel.time import to_optional_text
from vyry.mail.partitions import Cluster, Partition, PartitionState, Worker
from vyry.operator.partitions.model import Move, Plan
from vyry.operator.partitions.planning import loads_after


def bad_partitions(cluster: Cluster) -> list[Partition]:
    """The partitions in any state but ok."""
    return [each for each in cluster.partitions if cluster.state_of(each) is not PartitionState.OK]


def describe_cluster(cluster: Cluster) -> dict[str, Any]:
    """All partitions and all workers; `ok` is false when a partition is in a bad state."""
    hosts = {worker.name: worker.host for worker in cluster.workers}
    counts = Counter(each.owner for each in cluster.partitions)
    return {
        "ok": not bad_partitions(cluster),
        "at": cluster.seen_at.isoformat(),
        "generation": cluster.generation,
        "skew": round(cluster.skew, 3),
        "isCountComplete": cluster.is_count_complete,
        "partitions": [_partition(each, cluster, hosts) for each in cluster.partitions],
        "workers": [_worker(each, cluster, counts[each.name]) for each in cluster.workers],
    }


def _partition(partition: Partition, cluster: Cluster, hosts: dict[str, str]) -> dict[str, Any]:
    return {
        "partition": partition.number,
        "owner": partition.owner,
        "host": hosts.get(partition.owner or ""),
        "state": cluster.state_of(partition).value,
        "receivedPerSecond": round(partition.received_per_second, 3),
        "depositedPerSecond": round(partition.deposited_per_second, 3),
        "mailboxesWaiting": partition.mailboxes_waiting,
        "oldestSeconds": round(partition.oldest_seconds, 3),
        "bytesWaiting": partition.bytes_waiting,
        "recordsBehind": partition.records_behind,
        "secondsBehind": round(partition.seconds_behind, 3),
        "worstSeconds": round(partition.worst_seconds, 3),
        "target": partition.target,
        "isPinned": partition.is_pinned,
        "assignedAt": to_optional_text(partition.assigned_at),
        "reportedAt": to_optional_text(partition.reported_at),
        "lastRecordAt": to_optional_text(partition.last_record_at),
    }


def _worker(worker: Worker, cluster: Cluster, partitions: int) -> dict[str, Any]:
    return {
        "worker": worker.name,
        "host": worker.host,
        "version": worker.version,
        "state": worker_state(worker, cluster),
        "partitions": partitions,
        "load": round(cluster.load_by_worker.get(worker.name, 0.0), 3),
        "cpu": round(worker.cpu, 3),
        "memoryBytes": worker.memory_bytes,
        "startedAt": worker.started_at.isoformat(),
        "heartbeatAt": worker.heartbeat_at.isoformat(),
    }


def worker_state(worker: Worker, cluster: Cluster) -> str:
    """`live`, `draining` or `lost`."""
    if not cluster.is_alive(worker):
        return "lost"
    return "draining" if worker.is_draining else "live"


def describe_plan(plan: Plan, cluster: Cluster, seconds: float) -> dict[str, Any]:
    """A plan with the load of each worker before and after it, for the cluster that it was made for."""
    before, after = cluster.load_by_worker, loads_after(cluster, plan.moves)
    return {
        "stateId": None if plan.is_needless else plan.state_id,
        "kind": plan.kind.value,
        "status": plan.status.value,
        "worker": plan.worker,
        "partitions": {"before": len(plan.basis.owners), "after": plan.partitions},
        "moves": [describe_move(move) for move in plan.moves],
        "load": [
            {"worker": name, "before": round(before.get(name, 0.0), 3), "after": round(after[name], 3)}
            for name in sorted(after)
        ],
        "seconds": round(seconds, 1),
    }


def describe_move(move: Move) -> dict[str, Any]:
    """One partition that moves."""
    return {"partition": move.partition, "from": move.source, "to": move.destination}
