"""Which worker reads which partition. The leader of the group computes it from what every worker says when it joins.

A partition stays where it is unless the operator wants it elsewhere, its worker has gone, or a worker without its share has joined. So the next rebalance
does not undo what an operator moved.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the operator wants, as the database had it at one time."""

    #: The time of the database in seconds: of the wishes of several workers the newest count.
    seen_at: float = 0.0
    #: The worker that each partition should have, pinned or not.
    targets: Mapping[int, str] = field(default_factory=dict)
    #: The workers that should have no partition.
    draining: frozenset[str] = frozenset()

    def has_unmet(self, worker: str, owned: Collection[int], live: Collection[str]) -> bool:
        """Whether a partition of this worker should go to another live one."""
        others = set(live) - self.draining - {worker}
        if worker in self.draining:
            return bool(owned and others)
        return any(self.targets.get(number) in others for number in owned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A worker as it joins the group."""

    name: str
    #: The partitions that it had, and the number of the assignment that it got them by: it may have been away since.
    owned: Collection[int] = ()
    version: int = 0
    #: Whether it should get as many partitions as the others: its process has just started, or it drains no longer.
    needs_share: bool = True


def assign(partitions: Collection[int], members: Collection[Member], wishes: Wishes) -> dict[str, list[int]]:
    """The partitions of each member, by its name. Every partition has one member.

    A target that is a member gets its partitions. A draining member gets none, unless all members drain. Where no operator moved or pinned a partition,
    the members differ by at most one.
    """
    active = {each.name for each in members} - wishes.draining or {each.name for each in members}
    fixed = {number: to for number, to in wishes.targets.items() if to in active}
    owners = _owners(members) | fixed
    found: dict[str, list[int]] = {name: [] for name in sorted(active)}
    free: list[int] = []
    for number in sorted(set(partitions)):
        found.get(owners.get(number, ""), free).append(number)
    for number in free:
        min(found.values(), key=len).append(number)
    newest = max(each.version for each in members)
    for each in sorted(members, key=lambda member: member.name):
        # A member that missed an assignment lost its partitions meanwhile.
        if each.name in active and (each.needs_share or each.version < newest):
            _fill(each.name, found, fixed)
    return {each.name: sorted(found.get(each.name, ())) for each in members}


def _owners(members: Collection[Member]) -> dict[int, str]:
    """The last owner of each partition: of two that claim it, the one of the later assignment."""
    by_age = sorted(members, key=lambda member: (member.version, member.name))
    return {number: each.name for each in by_age for number in each.owned}


def _fill(name: str, found: Mapping[str, list[int]], fixed: Collection[int]) -> None:
    """Give the member partitions of those with the most, until none that can give one has two more."""
    while True:
        giving = [numbers for numbers in found.values() if any(number not in fixed for number in numbers)]
        most = max(giving, key=len, default=[])
        if len(most) <= len(found[name]) + 1:
            return
        moved = max(number for number in most if number not in fixed)
        most.remove(moved)
        found[name].append(moved)
