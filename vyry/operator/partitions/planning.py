"""Plans: which partitions have to move so that a partition is elsewhere, a worker has none, or all workers have about the same load. Pure; changes nothing."""

from collections.abc import Iterable, Mapping
from typing import Final

from vyry.mail.partitions import Cluster, Partition, Worker, skew_of
from vyry.operator.partitions.model import Move, NotInCluster, PlanRefused


#: `plan rebalance` ends once the busiest worker has at most so many times the mean load.
SKEW_BOUND: Final = 1.2
#: As the setting VYRY_PARTITIONS.
MAX_PARTITIONS: Final = 1024
#: Loads are sums of floats.
_EPSILON: Final = 1e-9


def find_partition(cluster: Cluster, number: int) -> Partition:
    """Raises NotInCluster."""
    if not 0 <= number < len(cluster.partitions):
        raise NotInCluster(f"There is no partition {number}: they are numbered 0 to {len(cluster.partitions) - 1}.")
    return cluster.partitions[number]


def find_worker(cluster: Cluster, name: str) -> Worker:
    """A live worker. Raises NotInCluster, PlanRefused for a worker that is lost."""
    found = next((worker for worker in cluster.workers if worker.name == name), None)
    if found is None:
        known = ", ".join(worker.name for worker in cluster.live_workers) or "none"
        raise NotInCluster(f"There is no worker {name!r}. Live workers: {known}.")
    if not cluster.is_alive(found):
        raise PlanRefused(f"Worker {name} is lost: its last heartbeat was at {found.heartbeat_at:%H:%M:%S}Z. Start it.")
    return found


def find_receiver(cluster: Cluster, name: str) -> Worker:
    """A live worker that may get partitions. Raises NotInCluster, PlanRefused."""
    found = find_worker(cluster, name)
    if found.is_draining:
        raise PlanRefused(f"Worker {name} is draining and gets no partitions: restart it, or choose another worker.")
    return found


def plan_move(cluster: Cluster, number: int, to: str) -> tuple[Move, ...]:
    """Move one partition to a worker. Raises NotInCluster, PlanRefused."""
    partition, worker = find_partition(cluster, number), find_receiver(cluster, to)
    if partition.owner == worker.name:
        raise PlanRefused(f"Worker {to} has partition {number} already: nothing to move.")
    if partition.is_pinned and partition.target != to:
        raise PlanRefused(
            f"Partition {number} is pinned to worker {partition.target}: run `vyry partitions unpin {number}` first."
        )
    return (Move(number, partition.owner, to),)


def plan_drain(cluster: Cluster, name: str) -> tuple[Move, ...]:
    """Move all partitions of a worker to the others, the busiest first, each to the worker with the least load by then. Raises NotInCluster, PlanRefused."""
    worker = find_worker(cluster, name)
    if worker.is_draining:
        raise PlanRefused(f"Worker {name} is draining already.")
    loads = {other.name: cluster.load_by_worker[other.name] for other in cluster.receivers if other.name != name}
    if not loads:
        raise PlanRefused(f"Worker {name} is the only one that may have partitions: start another worker first.")
    moves: list[Move] = []
    for partition in sorted(_partitions_of(cluster, name), key=lambda each: (-each.load, each.number)):
        destination = _least(loads)
        loads[destination] += partition.load
        moves.append(Move(partition.number, name, destination))
    return tuple(moves)


def plan_rebalance(cluster: Cluster, bound: float = SKEW_BOUND) -> tuple[Move, ...]:
    """Move partitions until the skew is at most `bound`, or no move of one partition makes it smaller. Pinned partitions stay. Raises PlanRefused.

    Each step moves a partition from the busiest worker to the one with the least load, the partition after which the busier of these two has the least.
    In the end each move without which the skew would be as good is left out.
    """
    owners = {each.number: each.owner for each in cluster.partitions}
    loads = {worker.name: cluster.load_by_worker[worker.name] for worker in cluster.receivers}
    if len(loads) < 2:
        raise PlanRefused("Rebalancing needs two live workers that do not drain.")
    # Each step lessens the sum of the squares, so it ends by itself; the limit is for loads that differ by next to nothing.
    for _ in range(2 * len(owners)):
        if skew_of(list(loads.values())) <= bound:
            break
        source, destination = max(loads, key=lambda name: (loads[name], name)), _least(loads)
        chosen = _best_partition(cluster, owners, source, loads[source] - loads[destination])
        if chosen is None:
            break
        _reassign(owners, loads, chosen, destination)
    _keep_needed(cluster, owners, loads, bound)
    return moves_to(cluster, owners)


def plan_grow(cluster: Cluster, partitions: int, in_topic: int) -> tuple[Move, ...]:
    """Raise the number of partitions, or add those that the topic lacks; no partition moves. Raises PlanRefused."""
    now = len(cluster.partitions)
    if partitions < now:
        raise PlanRefused(
            f"{now} partitions cannot become {partitions}: Kafka cannot remove partitions from a topic. Fewer would need a new topic and a restart of every node."
        )
    if partitions == now and in_topic >= now:
        raise PlanRefused(f"There are {now} partitions already: nothing to grow.")
    if partitions > MAX_PARTITIONS:
        raise PlanRefused(f"{partitions} partitions are too many: at most {MAX_PARTITIONS}.")
    return ()


def moves_to(cluster: Cluster, owners: Mapping[int, str | None]) -> tuple[Move, ...]:
    """The moves that lead from the cluster to these owners, by partition."""
    return tuple(
        Move(each.number, each.owner, owner)
        for each in cluster.partitions
        if (owner := owners[each.number]) is not None and owner != each.owner
    )


def loads_after(cluster: Cluster, moves: Iterable[Move]) -> dict[str, float]:
    """The load of each live worker once the moves are done."""
    loads = dict(cluster.load_by_worker)
    for move in moves:
        load = cluster.partitions[move.partition].load
        loads[move.destination] = loads.get(move.destination, 0.0) + load
        if move.source in loads:
            loads[move.source] -= load
    return loads


def _partitions_of(cluster: Cluster, name: str) -> list[Partition]:
    return [partition for partition in cluster.partitions if partition.owner == name]


def _least(loads: Mapping[str, float]) -> str:
    return min(loads, key=lambda name: (loads[name], name))


def _best_partition(cluster: Cluster, owners: Mapping[int, str | None], source: str, gap: float) -> Partition | None:
    """The partition of the source after whose move the busier of the two workers has the least; None when no move makes it less."""
    movable = [
        each
        for each in cluster.partitions
        if owners[each.number] == source and not each.is_pinned and each.load < gap - _EPSILON
    ]
    return min(movable, key=lambda each: (abs(each.load - gap / 2), each.number), default=None)


def _reassign(owners: dict[int, str | None], loads: dict[str, float], partition: Partition, to: str) -> None:
    source = owners[partition.number]
    if source is not None:
        loads[source] -= partition.load
    loads[to] += partition.load
    owners[partition.number] = to


def _keep_needed(cluster: Cluster, owners: dict[int, str | None], loads: dict[str, float], bound: float) -> None:
    """Undo each move without which the skew is within the bound, or as small as with it; the smallest partitions first."""
    allowed = max(bound, skew_of(list(loads.values()))) + _EPSILON
    moved = [each for each in cluster.partitions if owners[each.number] != each.owner]
    for partition in sorted(moved, key=lambda each: each.load):
        before, owner = partition.owner, owners[partition.number]
        if before is None or owner is None:
            continue
        _reassign(owners, loads, partition, before)
        if skew_of(list(loads.values())) > allowed:
            _reassign(owners, loads, partition, owner)
