"""How many may do something at once, in one process: each holds memory or a connection.

Theory: places must not be held by whoever takes longest. Small transfers have places that large ones cannot take. When all are taken, a newcomer gets the
place of the slowest that is slow beyond reason, or that belongs to an owner with more places than the newcomer's: so places even out, and equals never
drive each other out. What is ended goes on later where it was (tus, ranges).
"""

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from vyry.errors import RateLimited, Unavailable


#: When to come back.
RETRY_SECONDS: Final = 2
#: Up to here a transfer is small.
SMALL_BYTES: Final = 256 << 10
#: Nobody is ended earlier, and speed is that of about so long.
GRACE_SECONDS: Final = 5.0
#: Pieces are large: within so long one of them passes at more than `SLOW`.
STALLED_SECONDS: Final = 20.0
#: Bytes in a second; who is slower gives way to anybody.
SLOW: Final = 32 << 10


class Slot:
    """One place. Its holder counts what has passed."""

    def __init__(self, owner: Hashable, end: Callable[[], None], clock: Callable[[], float], *, is_small: bool) -> None:
        self.owner = owner
        self.cut = end
        self.is_small = is_small
        self._clock = clock
        self.started_at = self._since = self._latest = self._counted_at = clock()
        #: What passed between `_since` and `_latest`, and after that.
        self._before = self._now = 0

    def count(self, length: int) -> None:
        """So many bytes have passed."""
        now = self._clock()
        if now - self._latest >= GRACE_SECONDS:
            self._since, self._before = self._latest, self._now
            self._latest, self._now = now, 0
        self._now += length
        self._counted_at = now

    @property
    def speed(self) -> float:
        """Bytes in a second, of the last seconds; 0 when nothing passes any more."""
        now = self._clock()
        is_stalled = now - self._counted_at >= STALLED_SECONDS
        return 0.0 if is_stalled else (self._before + self._now) / max(now - self._since, 0.001)


class Slots:
    """`total` places, of which `reserved` are for small transfers, and of which one owner takes `each` at most."""

    def __init__(
        self, total: int, each: int, *, reserved: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._each = each
        self._reserved = reserved
        self._clock = clock
        self._slots: list[Slot] = []

    @contextmanager
    def acquire(self, owner: Hashable, length: int, cut: Callable[[], None]) -> Iterator[Slot]:
        """A place for the length of the block, for a transfer of so many bytes. `end` is called if it has to give way to another.

        Raises RateLimited when the owner has all of its own, Unavailable when all are taken and none gives way.
        """
        if self._count_of_owner(owner) >= self._each:
            raise RateLimited(RETRY_SECONDS, "You do too many of these at once.")
        slot = Slot(owner, cut, self._clock, is_small=length <= SMALL_BYTES)
        self._evict_if_full(slot)
        self._slots.append(slot)
        try:
            yield slot
        finally:
            if slot in self._slots:
                self._slots.remove(slot)

    def _count_of_owner(self, owner: Hashable) -> int:
        return sum(slot.owner == owner for slot in self._slots)

    def _evict_if_full(self, newcomer: Slot) -> None:
        rivals = self._slots
        is_full = len(rivals) >= self._total
        if not newcomer.is_small and not is_full:
            rivals = [slot for slot in self._slots if not slot.is_small]
            is_full = len(rivals) >= self._total - self._reserved
        if is_full:
            slowest = min(self._evictable(newcomer, rivals), key=lambda slot: slot.speed, default=None)
            if slowest is None:
                raise Unavailable("The node does too many of these at once.", RETRY_SECONDS)
            # It has no place from now on, and ends as soon as it hears of it.
            self._slots.remove(slowest)
            slowest.cut()

    def _evictable(self, newcomer: Slot, rivals: list[Slot]) -> Iterator[Slot]:
        """Those that have to give way to this one."""
        share = self._count_of_owner(newcomer.owner) + 1
        for slot in rivals:
            is_settled = newcomer.started_at - slot.started_at >= GRACE_SECONDS
            if is_settled and (slot.speed < SLOW or self._count_of_owner(slot.owner) > share):
                yield slot
