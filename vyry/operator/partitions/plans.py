"""Makes plans of moves: with the state that they depend on, its short hash, and the comparison of that state with the present one."""

import hashlib
import json
from typing import Any, Final

from vyry.mail.partitions import Cluster
from vyry.operator.partitions.model import Basis, Move, Plan, PlanKind, PlanRefused, PlanStatus, Wish
from vyry.storage.partitions import StoredPlan


#: 40 bits: plans are kept for days, and there are few.
_STATE_ID_DIGITS: Final = 10
#: A refusal names so many differences.
_SHOWN: Final = 3


def basis_of(cluster: Cluster) -> Basis:
    """What a plan for this cluster depends on. Loads and reports do not belong to it."""
    return Basis(
        workers={worker.name: worker.is_draining for worker in cluster.live_workers},
        owners=tuple(each.owner for each in cluster.partitions),
        wishes=tuple(Wish(each.target, each.is_pinned) for each in cluster.partitions),
        generation=cluster.generation,
    )


def make_plan(
    cluster: Cluster,
    kind: PlanKind,
    moves: tuple[Move, ...],
    *,
    worker: str | None = None,
    partitions: int | None = None,
    operator: str = "",
    reason: str = "",
) -> Plan:
    """A plan for the cluster as it is now. The same state and the same moves give the same state id."""
    basis = basis_of(cluster)
    count = len(cluster.partitions) if partitions is None else partitions
    decides = {"kind": kind.value, "worker": worker, "partitions": count, "moves": pack_moves(moves)}
    text = json.dumps({**decides, "basis": pack_basis(basis)}, sort_keys=True)
    return Plan(
        state_id=hashlib.sha256(text.encode()).hexdigest()[:_STATE_ID_DIGITS],
        kind=kind,
        moves=moves,
        basis=basis,
        worker=worker,
        partitions=count,
        created_at=cluster.seen_at,
        operator=operator,
        reason=reason,
    )


def require_unchanged(plan: Plan, cluster: Cluster) -> None:
    """Raises PlanRefused when the cluster is not what the plan saw."""
    changes = [*_changed_workers(plan.basis, basis_of(cluster)), *_changed_partitions(plan.basis, basis_of(cluster))]
    if changes:
        more = f", and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        raise PlanRefused(
            f"The cluster has changed since the plan {plan.state_id}: {'; '.join(changes[:_SHOWN])}{more}. Nothing was changed: make a new plan."
        )


def require_possible(plan: Plan, cluster: Cluster) -> None:
    """For a plan that was started before. Raises PlanRefused when a move that has not settled cannot be made any more."""
    receivers = {worker.name for worker in cluster.receivers}
    for move in plan.waiting:
        if move.destination not in receivers:
            raise PlanRefused(
                f"Worker {move.destination} is lost or draining, and partition {move.partition} has to move there: start it, or run `vyry partitions abort`."
            )
        partition = cluster.partitions[move.partition]
        if (
            partition.is_pinned
            and partition.target != move.destination
            and plan.basis.wishes[move.partition].target != partition.target
        ):
            raise PlanRefused(
                f"Partition {move.partition} is pinned to worker {partition.target} meanwhile: unpin it, or run `vyry partitions abort`."
            )
    if cluster.generation != plan.basis.generation and len(cluster.partitions) != plan.partitions:
        raise PlanRefused(
            f"There are {len(cluster.partitions)} partitions meanwhile: run `vyry partitions abort`, then make a new plan."
        )


def _changed_workers(before: Basis, now: Basis) -> list[str]:
    found = [f"worker {name} has left" for name in sorted(before.workers.keys() - now.workers.keys())]
    found += [f"worker {name} has joined" for name in sorted(now.workers.keys() - before.workers.keys())]
    common = sorted(before.workers.keys() & now.workers.keys())
    return found + [
        f"worker {name} is {'draining' if now.workers[name] else 'not draining any more'}"
        for name in common
        if before.workers[name] != now.workers[name]
    ]


def _changed_partitions(before: Basis, now: Basis) -> list[str]:
    if before.generation != now.generation or len(before.owners) != len(now.owners):
        return [f"there are {len(now.owners)} partitions in place of {len(before.owners)}"]
    owners = [
        f"partition {number} has {_worker(new)} in place of {_worker(old)}"
        for number, (old, new) in enumerate(zip(before.owners, now.owners, strict=True))
        if old != new
    ]
    pairs = enumerate(zip(before.wishes, now.wishes, strict=True))
    return owners + [f"partition {number} is {_wish(new)}" for number, (old, new) in pairs if old != new]


def _worker(name: str | None) -> str:
    return f"worker {name}" if name else "no worker"


def _wish(wish: Wish) -> str:
    if wish.target is None:
        return "not pinned"
    return f"{'pinned' if wish.is_pinned else 'on its way'} to worker {wish.target}"


def pack_moves(moves: tuple[Move, ...]) -> list[Any]:
    """As JSON in the database."""
    return [[move.partition, move.source, move.destination] for move in moves]


def pack_basis(basis: Basis) -> dict[str, Any]:
    """As JSON in the database; wishes as pairs of a number and a wish where there is one."""
    return {
        "workers": basis.workers,
        "owners": list(basis.owners),
        "wishes": [[number, each.target, each.is_pinned] for number, each in enumerate(basis.wishes) if each.target],
        "generation": basis.generation,
    }


def unpack_basis(packed: dict[str, Any]) -> Basis:
    """The basis that `pack_basis` made it of."""
    wishes = [Wish()] * len(packed["owners"])
    for number, target, is_pinned in packed["wishes"]:
        wishes[number] = Wish(target, is_pinned)
    return Basis(
        workers=packed["workers"], owners=tuple(packed["owners"]), wishes=tuple(wishes), generation=packed["generation"]
    )


def pack_plan(plan: Plan) -> StoredPlan:
    """As the database stores it."""
    return StoredPlan(
        state_id=plan.state_id,
        kind=plan.kind.value,
        created_at=plan.created_at,
        operator=plan.operator,
        reason=plan.reason,
        status=plan.status.value,
        moves=pack_moves(plan.moves),
        basis=pack_basis(plan.basis),
        progress=pack_progress(plan),
    )


def pack_progress(plan: Plan) -> dict[str, Any]:
    """As JSON in the database."""
    return {"worker": plan.worker, "partitions": plan.partitions, "settled": list(plan.settled)}


def unpack_plan(stored: StoredPlan) -> Plan:
    """The plan that `pack_plan` made it of."""
    return Plan(
        state_id=stored.state_id,
        kind=PlanKind(stored.kind),
        moves=tuple(Move(*move) for move in stored.moves),
        basis=unpack_basis(stored.basis),
        worker=stored.progress["worker"],
        partitions=stored.progress["partitions"],
        created_at=stored.created_at,
        operator=stored.operator,
        reason=stored.reason,
        status=PlanStatus(stored.status),
        settled=tuple(stored.progress["settled"]),
    )
