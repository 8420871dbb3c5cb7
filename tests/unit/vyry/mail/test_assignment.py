"""Assignments: every partition has one worker, the operator's wishes count, and nothing moves without a reason."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from vyry.mail.assignment import Member, Wishes, assign


NAMES = st.sampled_from(["ann", "bob", "cid", "dan", "eve"])
PARTITIONS = st.integers(1, 24).map(range)


@st.composite
def groups(draw: st.DrawFn) -> tuple[range, list[Member], Wishes]:
    """Members with any claims, and any wishes."""
    partitions = draw(PARTITIONS)
    numbers = st.integers(0, 30)
    members = [
        Member(
            name=name,
            owned=draw(st.frozensets(numbers, max_size=12)),
            version=draw(st.integers(0, 3)),
            needs_share=draw(st.booleans()),
        )
        for name in draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    ]
    wishes = Wishes(targets=draw(st.dictionaries(numbers, NAMES, max_size=8)), draining=draw(st.frozensets(NAMES)))
    return partitions, members, wishes


def members_after(assignment: Mapping[str, list[int]]) -> list[Member]:
    return [Member(name=name, owned=owned, version=4, needs_share=False) for name, owned in assignment.items()]


def moved(before: Mapping[str, list[int]], after: Mapping[str, list[int]]) -> int:
    """How many partitions changed between two workers that are in both."""
    return sum(number not in after[name] for name, numbers in before.items() if name in after for number in numbers)


@given(groups())
def test_every_partition_has_one_worker(group: tuple[range, list[Member], Wishes]) -> None:
    partitions, members, wishes = group

    found = assign(partitions, members, wishes)

    assert sorted(number for numbers in found.values() for number in numbers) == list(partitions)
    assert set(found) == {each.name for each in members}


@given(groups())
def test_a_target_that_is_there_has_its_partitions(group: tuple[range, list[Member], Wishes]) -> None:
    partitions, members, wishes = group

    found = assign(partitions, members, wishes)

    active = {each.name for each in members} - wishes.draining
    for number, to in wishes.targets.items():
        assert number not in partitions or to not in active or number in found[to]


@given(groups())
def test_a_draining_worker_is_empty_unless_all_drain(group: tuple[range, list[Member], Wishes]) -> None:
    partitions, members, wishes = group

    found = assign(partitions, members, wishes)

    if {each.name for each in members} - wishes.draining:
        assert [found[each.name] for each in members if each.name in wishes.draining] == [
            [] for each in members if each.name in wishes.draining
        ]


@given(PARTITIONS, st.lists(st.tuples(st.booleans(), NAMES), min_size=1, max_size=12))
def test_workers_that_join_and_leave_stay_balanced_with_few_moves(
    partitions: range, events: list[tuple[bool, str]]
) -> None:
    held: dict[str, list[int]] = {}
    for joins, name in events:
        members = [each for each in members_after(held) if each.name != name]
        members += [Member(name=name)] if joins else []
        if not members:
            continue

        found = assign(partitions, members, Wishes())

        sizes = sorted(map(len, found.values()))
        assert sizes[-1] - sizes[0] <= 1
        assert moved(held, found) <= (len(found[name]) if joins else 0) + (len(held.get(name, ())) if joins else 0)
        held = found


@given(groups())
def test_a_rebalance_without_a_reason_moves_nothing(group: tuple[range, list[Member], Wishes]) -> None:
    partitions, members, wishes = group
    before = assign(partitions, members, wishes)

    assert assign(partitions, members_after(before), wishes) == before


@given(groups())
def test_a_move_of_the_operator_stays_when_its_target_is_cleared(group: tuple[range, list[Member], Wishes]) -> None:
    partitions, members, wishes = group
    before = assign(partitions, members, wishes)

    after = assign(partitions, members_after(before), replace(wishes, targets={}))

    assert after == before


def test_of_two_claims_the_later_assignment_counts() -> None:
    stale = Member(name="ann", owned=[0, 1], version=3, needs_share=False)
    owner = Member(name="bob", owned=[1], version=4, needs_share=False)

    assert assign(range(2), [stale, owner], Wishes()) == {"ann": [0], "bob": [1]}


def test_a_worker_that_missed_an_assignment_gets_its_share_again() -> None:
    away = Member(name="ann", owned=[0, 1], version=3, needs_share=False)
    alone = Member(name="bob", owned=[0, 1, 2, 3], version=4, needs_share=False)

    assert [len(numbers) for numbers in assign(range(4), [away, alone], Wishes()).values()] == [2, 2]


def test_a_pin_to_a_worker_that_has_gone_falls_back_and_returns_with_it() -> None:
    wishes = Wishes(targets={0: "bob"})
    alone = assign(range(2), [Member(name="ann")], wishes)

    back = assign(range(2), [*members_after(alone), Member(name="bob")], wishes)

    assert (alone, back) == ({"ann": [0, 1]}, {"ann": [1], "bob": [0]})


def test_a_worker_asks_for_a_rebalance_when_its_partition_should_go_to_a_live_one() -> None:
    wishes = Wishes(targets={1: "bob"})

    assert wishes.has_unmet("ann", [0, 1], ["ann", "bob"])
    assert not wishes.has_unmet("ann", [0, 1], ["ann"])
    assert not wishes.has_unmet("ann", [0], ["ann", "bob"])
    assert not wishes.has_unmet("bob", [1], ["ann", "bob"])


def test_a_draining_worker_asks_until_it_is_empty_or_alone() -> None:
    wishes = Wishes(draining=frozenset({"ann"}))

    assert wishes.has_unmet("ann", [0], ["ann", "bob"])
    assert not wishes.has_unmet("ann", [], ["ann", "bob"])
    assert not wishes.has_unmet("ann", [0], ["ann"])


def test_new_partitions_go_to_those_with_the_fewest() -> None:
    members = [Member(name="ann", owned=[0, 1], needs_share=False), Member(name="bob", owned=[2], needs_share=False)]

    grown = assign(range(6), members, Wishes())

    assert [len(numbers) for _, numbers in sorted(grown.items())] == [3, 3]
    assert {0, 1} <= set(grown["ann"])


def test_the_order_of_the_members_does_not_matter() -> None:
    ann, bob = Member(name="ann"), Member(name="bob")

    assert assign(range(3), [ann, bob], Wishes()) == assign(range(3), [bob, ann], Wishes())
