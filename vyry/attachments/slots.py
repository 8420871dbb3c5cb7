"""Slots for transfers: how many run at once in one process. Each uses memory or a connection.

Theory: slow transfers must not occupy all slots. Some slots are reserved for small transfers. If all are in use, a new transfer gets the slot of the
slowest one that is below `SLOW`, or whose owner has more slots than the owner of the new one: slots even out, and owners with equal shares never evict
each other. The client can resume an evicted transfer (tus, range requests).
"""

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from vyry.errors import RateLimited, Unavailable


#: The Retry-After of a refusal.
RETRY_SECONDS: Final = 2
#: The size of the largest small transfer.
SMALL_BYTES: Final = 256 << 10
#: A younger transfer is never evicted; the speed is measured over about this time.
GRACE_SECONDS: Final = 5.0
#: A transfer without a piece for so long counts as stalled: at `SLOW` a piece takes less.
STALLED_SECONDS: Final = 20.0
#: Bytes per second; a slower transfer can be evicted by any owner.
SLOW: Final = 32 << 10


class Slot:
    """A slot in use. Its transfer counts the bytes."""

    def __init__(self, owner: Hashable, cut: Callable[[], None], clock: Callable[[], float], *, is_small: bool) -> None:
        self.owner = owner
        self.cut = cut
        self.is_small = is_small
        self._clock = clock
        self.started_at = self._since = self._latest = self._counted_at = clock()
        #: The bytes between `_since` and `_latest`, and those after it.
        self._before = self._now = 0

    def count(self, length: int) -> None:
        """Count transferred bytes."""
        now = self._clock()
        if now - self._latest >= GRACE_SECONDS:
            self._since, self._before = self._latest, self._now
            self._latest, self._now = now, 0
        self._now += length
        self._counted_at = now

    @property
    def speed(self) -> float:
        """Bytes per second over the last seconds; 0 for a stalled transfer."""
        now = self._clock()
        is_stalled = now - self._counted_at >= STALLED_SECONDS
        return 0.0 if is_stalled else (self._before + self._now) / max(now - self._since, 0.001)


class Slots:
    """`total` slots, of which `reserved` are for small transfers; one owner gets at most `each`."""

    def __init__(
        self, total: int, each: int, *, reserved: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._each = each
        self._reserved = reserved
        self._clock = clock
        self._slots: list[Slot] = []

    @property
    def load(self) -> tuple[int, int, int]:
        """The slots, how many of them are in use, and 0: no caller waits."""
        return self._total, len(self._slots), 0

    @contextmanager
    def acquire(self, owner: Hashable, length: int, cut: Callable[[], None]) -> Iterator[Slot]:
        """A slot for the block, for a transfer of `length` bytes. `cut` is called if it is evicted.

        Raises RateLimited if the owner has its maximum, Unavailable if all slots are in use and none can be evicted.
        """
        if self._count_of_owner(owner) >= self._each:
            raise RateLimited(RETRY_SECONDS, "Too many transfers at once for this account.")
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
                raise Unavailable("Too many transfers at once for this node.", RETRY_SECONDS)
            # Its slot is free from now on; the transfer ends when `cut` takes effect.
            self._slots.remove(slowest)
            slowest.cut()

    def _evictable(self, newcomer: Slot, rivals: list[Slot]) -> Iterator[Slot]:
        """The slots that this transfer may evict."""
        share = self._count_of_owner(newcomer.owner) + 1
        for slot in rivals:
            is_settled = newcomer.started_at - slot.started_at >= GRACE_SECONDS
            if is_settled and (slot.speed < SLOW or self._count_of_owner(slot.owner) > share):
                yield slot
