"""A queue for a few slots in which accounts take turns, so that an account with many requests delays only itself."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from vyry.errors import RateLimited, Unavailable


#: The first estimate of how long a slot is in use, for Retry-After.
_INITIAL_ESTIMATE_SECONDS: Final = 0.03
#: The weight of the newest duration in the moving average.
_SMOOTHING: Final = 1 / 16


class FairQueue:
    """At most `slots` callers at a time. Waiting accounts take turns: one slot each, then the next account, whatever the length of their queues.

    At most `per_account` callers of an account wait, and at most `accounts` accounts. For one event loop.
    """

    def __init__(self, slots: int, accounts: int, per_account: int) -> None:
        self._slots = slots
        self._free = slots
        self._max_accounts = accounts
        self._per_account = per_account
        #: The waiting callers of each account; the first account has the next turn.
        self._queues: OrderedDict[UUID, deque[asyncio.Future[None]]] = OrderedDict()
        self._mean_seconds = _INITIAL_ESTIMATE_SECONDS

    @property
    def load(self) -> tuple[int, int, int]:
        """The slots, how many of them are in use, and how many callers wait."""
        return self._slots, self._slots - self._free, sum(map(len, self._queues.values()))

    def check_capacity(self, account: UUID) -> None:
        """Raises RateLimited if too many callers of this account wait, and Unavailable if too many accounts wait, both with Retry-After."""
        if len(self._queues.get(account, ())) >= self._per_account:
            raise RateLimited(self._estimate_wait(1), "Too many PIN requests of this account are queued.")
        if account not in self._queues and len(self._queues) >= self._max_accounts and not self._free:
            shortest = min((len(queue) for queue in self._queues.values()), default=1)
            raise Unavailable("The PIN queue is full.", self._estimate_wait(shortest))

    @asynccontextmanager
    async def acquire_slot(self, account: UUID) -> AsyncIterator[None]:
        """A slot while the block lasts. Raises at once what `check_capacity` raises."""
        self.check_capacity(account)
        if self._free:
            self._free -= 1
        else:
            await self._wait(account)
        began = time.monotonic()
        try:
            yield
        finally:
            self._mean_seconds += (time.monotonic() - began - self._mean_seconds) * _SMOOTHING
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
                # The slot was assigned at the same moment: pass it on.
                self._release_slot()
            raise

    def _release_slot(self) -> None:
        """Assign a free slot to the account whose turn it is."""
        while self._queues:
            account, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[account] = queue
            # A turn that is done was cancelled.
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
        """The seconds until each waiting account will have had so many turns."""
        return max(1, math.ceil(rounds * max(1, len(self._queues)) * self._mean_seconds / self._slots))
