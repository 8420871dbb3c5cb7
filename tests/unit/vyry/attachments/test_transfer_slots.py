"""Which transfer gets a slot, and which one is evicted."""

from contextlib import ExitStack
from itertools import count

import pytest

from vyry.attachments.slots import GRACE_SECONDS, SLOW, SMALL_BYTES, Slot, Slots
from vyry.errors import RateLimited, Unavailable


LARGE = SMALL_BYTES + 1


class Node:
    """Three slots, one of them reserved for small transfers, under a stopped clock."""

    def __init__(self, total: int = 3, each: int = 2, reserved: int = 1) -> None:
        self.now = 100.0
        self.slots = Slots(total, each, reserved=reserved, clock=lambda: self.now)
        self.ended: list[int] = []
        self.stack = ExitStack()
        self._numbers = count()

    def begin(self, owner: str, length: int = LARGE) -> Slot:
        """A transfer with a slot until the stack is closed."""
        number = next(self._numbers)
        return self.stack.enter_context(self.slots.acquire(owner, length, lambda: self.ended.append(number)))

    def wait(self, seconds: float = GRACE_SECONDS) -> None:
        self.now += seconds


def test_an_owner_has_so_many_places_and_a_node_so_many_in_all() -> None:
    node = Node(reserved=0)
    with node.stack:
        node.begin("ann")
        node.begin("ann")
        with pytest.raises(RateLimited):
            node.begin("ann")
        node.begin("bo")
        with pytest.raises(Unavailable):
            node.begin("cat")

    node.begin("cat")
    assert node.ended == []


def test_small_ones_find_a_place_that_large_ones_cannot_take() -> None:
    node = Node()
    node.begin("ann")
    node.begin("bo")

    with pytest.raises(Unavailable):
        node.begin("cat")
    node.begin("cat", SMALL_BYTES)

    assert node.ended == []


def test_the_slowest_gives_way_and_nobody_does_before_the_grace_is_over() -> None:
    node = Node(reserved=0)
    slow, slower, fast = (node.begin(owner) for owner in ("ann", "bo", "cat"))
    node.wait(GRACE_SECONDS - 1)
    for slot, length in ((slow, 5), (slower, 2), (fast, SLOW * 10)):
        slot.count(length)
    with pytest.raises(Unavailable):
        node.begin("dan")

    node.wait(1)
    node.begin("dan")

    assert node.ended == [1]
    assert slower not in node.slots._slots


def test_who_was_fast_and_stalls_is_slow() -> None:
    node = Node(total=2, reserved=0)
    stalled, steady = node.begin("ann"), node.begin("bo")
    for _ in range(20):
        stalled.count(SLOW * 10)
        steady.count(SLOW * 2)
        node.wait(1)

    for _ in range(20):
        steady.count(SLOW * 2)
        node.wait(1)
    node.begin("cat")

    assert node.ended == [0]


def test_equals_do_not_drive_each_other_out_and_who_holds_more_gives_way() -> None:
    node = Node(total=3, reserved=0)
    for owner in ("ann", "ann", "bo"):
        node.begin(owner).count(SLOW * 100)
    node.wait()

    node.begin("cat").count(SLOW * 100)
    node.wait()
    with pytest.raises(Unavailable):
        node.begin("dan")

    assert node.ended == [0]


def test_fifty_slow_clients_of_one_kind_leave_room_for_everybody_else() -> None:
    node = Node(total=50, each=10, reserved=5)
    for number in range(45):
        node.begin(f"slow {number // 9}").count(1)
    node.wait()

    for number in range(45):
        node.begin(f"quick {number}").count(SLOW * 100)

    assert sorted(node.ended) == list(range(45))
