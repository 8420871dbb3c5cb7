"""How full the queues, pools and disks of a process are, and how late its event loop is. Measured at a scrape, never on the path of an envelope."""

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from vyry.telemetry import (
    DISK_FREE,
    DISK_SIZE,
    LOOP_LAG,
    QUEUE_DEPTH,
    QUEUE_LIMIT,
    SLOTS_LIMIT,
    SLOTS_USED,
    SLOTS_WAITING,
)


#: How often the event loop is timed: often enough to meet a block of a tenth of a second, at a cost that cannot be measured.
LAG_SECONDS: Final = 0.1


class Queue(Protocol):
    """Anything with work that waits."""

    @property
    def depth(self) -> int:
        """How much waits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """What to measure, each by its label: queues and the depths at which they are full; pools as (slots, slots in use, waiting callers); folders."""

    queues: Mapping[str, Queue] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    pools: Mapping[str, Callable[[], tuple[int, int, int]]] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)

    async def measure(self) -> None:
        """Set all gauges. A folder that is missing keeps its last values."""
        for name, queue in self.queues.items():
            QUEUE_DEPTH.labels(name).set(queue.depth)
        for name, limit in self.limits.items():
            QUEUE_LIMIT.labels(name).set(limit)
        for name, load in self.pools.items():
            slots, used, waiting = load()
            SLOTS_LIMIT.labels(name).set(slots)
            SLOTS_USED.labels(name).set(used)
            SLOTS_WAITING.labels(name).set(waiting)
        # A network folder may hang.
        await asyncio.to_thread(self._measure_disks)

    def _measure_disks(self) -> None:
        for name, folder in self.folders.items():
            with suppress(OSError):
                usage = shutil.disk_usage(folder)
                DISK_FREE.labels(name).set(usage.free)
                DISK_SIZE.labels(name).set(usage.total)


@contextmanager
def timed_event_loop() -> Iterator[None]:
    """Time the event loop while the block lasts."""
    timer = _LoopTimer()
    try:
        yield
    finally:
        timer.stop()


class _LoopTimer:
    """What a timer is late by, every callback that became due meanwhile is late by too."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = self._start()

    def stop(self) -> None:
        self._timer.cancel()

    def _start(self) -> asyncio.TimerHandle:
        due = self._loop.time() + LAG_SECONDS
        return self._loop.call_at(due, self._tick, due)

    def _tick(self, due: float) -> None:
        LOOP_LAG.observe(max(0.0, self._loop.time() - due))
        self._timer = self._start()
