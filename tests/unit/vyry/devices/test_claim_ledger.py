"""Claims with crashes at every step, copies and restores of the database: no key is claimed twice, and keys are discarded only if needed."""

import asyncio
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_clock import FakeClock
from vyry.devices.restore_detection import RestoreDetector, RestoreMarkers
from vyry.errors import Unavailable


class Crash(BaseException):
    """The process has crashed."""


@dataclass
class PersistentState:
    """What outlives a process: the database, the marker file, and the number of steps until the next crash (None: no crash)."""

    keys: list[int] = field(default_factory=lambda: list(range(1, 200)))
    marks: dict[UUID, UUID] = field(default_factory=dict)
    burned: int = 0
    kept: RestoreMarkers | None = None
    steps: int | None = None

    def step(self) -> None:
        if self.steps is not None:
            self.steps -= 1
            if self.steps < 0:
                raise Crash


class MemoryMarkerStore:
    """MarkerStore."""

    def __init__(self, world: PersistentState) -> None:
        self._world = world

    async def load_marker(self, node: UUID) -> UUID | None:
        return self._world.marks.get(node)

    async def advance_marker(self, node: UUID, old: UUID, new: UUID, now: datetime) -> bool:
        self._world.step()
        is_there = self._world.marks.get(node) == old
        if is_there:
            self._world.marks[node] = new
        self._world.step()
        return is_there

    async def reset_marker(self, node: UUID, mark: UUID, now: datetime) -> None:
        self._world.step()
        self._world.marks[node] = mark
        self._world.step()

    async def is_other_database(self) -> bool:
        return False

    async def discard_keys(self, after_id: UUID, limit: int, now: datetime) -> UUID | None:
        self._world.step()
        self._world.keys.clear()
        self._world.step()
        return None

    async def record_discard(self, operator: str, reason: str, now: datetime) -> None:
        self._world.burned += 1


class MemoryMarkerFile:
    """MarkerFile."""

    def __init__(self, world: PersistentState) -> None:
        self._world = world

    async def lock(self) -> None:
        self._world.step()

    def unlock(self) -> None:
        pass

    async def read(self) -> RestoreMarkers | None:
        return self._world.kept

    async def write(self, marks: RestoreMarkers) -> None:
        self._world.step()
        self._world.kept = marks
        self._world.step()


async def claim(world: PersistentState) -> int | None:
    """One claim of a node that has just started; returns the claimed key, or None."""
    ledger = RestoreDetector(MemoryMarkerStore(world), MemoryMarkerFile(world), FakeClock())
    running = asyncio.create_task(ledger.run())
    try:
        claiming = asyncio.create_task(_claim(world, ledger))
        await asyncio.wait({running, claiming}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            claiming.cancel()
            return None
        return await claiming
    except Unavailable:
        return None
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, Crash):
            await running


async def _claim(world: PersistentState, ledger: RestoreDetector) -> int | None:
    begun = await ledger.begin_claim()
    key = world.keys.pop(0) if world.keys else None
    await ledger.confirm_claim(begun)
    return key


moves = st.lists(
    st.one_of(st.just("claim"), st.just("copy"), st.just("put back"), st.integers(0, 8)), min_size=1, max_size=30
)


@given(moves)
def test_no_key_is_handed_out_twice(history: list[str | int]) -> None:
    asyncio.run(run_history(history))


async def run_history(history: list[str | int]) -> None:
    world, given_out, copy = PersistentState(), [], None
    is_older = False
    for move in history:
        if move == "copy":
            copy = (list(world.keys), dict(world.marks))
        elif move == "put back" and copy is not None:
            world.keys, world.marks = list(copy[0]), dict(copy[1])
            is_older = True
        else:
            world.steps = move if isinstance(move, int) else None
            key = await claim(world)
            if key is not None:
                given_out.append(key)

    assert len(given_out) == len(set(given_out))
    assert is_older or world.burned == 0


def test_the_history_is_long_enough_to_find_a_ledger_that_does_not_look() -> None:
    world = PersistentState()
    first = asyncio.run(claim(world))
    copy = deepcopy((world.keys, world.marks))
    second = asyncio.run(claim(world))
    world.keys, world.marks = copy

    assert (first, second, asyncio.run(claim(world)), world.burned) == (1, 2, None, 1)
