"""A line before a few places in which accounts take turns, so that one account that asks often delays itself alone."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from vyry.errors import RateLimited, Unavailable


#: How long a place is held, before any was: the waits that are announced begin with this.
_INITIAL_ESTIMATE_SECONDS: Final = 0.03
#: The share of the newest holder in the mean.
_SMOOTHING: Final = 1 / 16


class FairQueue:
    """At most `places` holders at a time. Waiting accounts take turns: one place each, then the next account, whatever the length of their queues.

    At most `each` callers of one account wait, of at most `accounts` accounts. Everything happens on one event loop.
    """

    def __init__(self, slots: int, accounts: int, per_account: int) -> None:
        self._places = slots
        self._free = slots
        self._accounts = accounts
        self._each = per_account
        #: The callers of each account that waits; the first account has the next turn.
        self._queues: OrderedDict[UUID, deque[asyncio.Future[None]]] = OrderedDict()
        self._held_seconds = _INITIAL_ESTIMATE_SECONDS

    def check_capacity(self, account: UUID) -> None:
        """Raises RateLimited when too many of this account wait, Unavailable when too many accounts wait: with the time until one more may."""
        if len(self._queues.get(account, ())) >= self._each:
            raise RateLimited(self._estimate_wait(1), "Too many PIN requests of this account are queued.")
        if account not in self._queues and len(self._queues) >= self._accounts and not self._free:
            shortest = min((len(queue) for queue in self._queues.values()), default=1)
            raise Unavailable("The PIN queue is full.", self._estimate_wait(shortest))

    @asynccontextmanager
    async def acquire_slot(self, account: UUID) -> AsyncIterator[None]:
        """A place for the length of the block. Raises what `refuse_full` raises, at once."""
        self.check_capacity(account)
        if self._free:
            self._free -= 1
        else:
            await self._wait(account)
        began = time.monotonic()
        try:
            yield
        finally:
            self._held_seconds += (time.monotonic() - began - self._held_seconds) * _SMOOTHING
            self._release_slot()

    async def _wait(self, account: UUID) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(account, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._remove_waiter(account, turn)
            else:
                # The place was handed over in the same moment: the next one has it.
                self._release_slot()
            raise

    def _release_slot(self) -> None:
        """Give a place that is free to the account whose turn it is."""
        while self._queues:
            account, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[account] = queue
            # One that is done was cancelled, and is about to hear of it.
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _remove_waiter(self, account: UUID, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(account)
        if queue is None or turn not in queue:
            return
        queue.remove(turn)
        if not queue:
            del self._queues[account]

    def _estimate_wait(self, rounds: int) -> int:
        """In how many seconds each account that waits will have had so many turns."""
        return max(1, math.ceil(rounds * max(1, len(self._queues)) * self._held_seconds / self._places))
