"""Handing items over to one loop in batches: while a batch is handled, the next one gathers."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from itertools import islice
from typing import Generic, Never, TypeVar


_Item = TypeVar("_Item", bound=Hashable)


class Coalescer(Generic[_Item]):
    """The distinct items that wait for one loop, in the order in which they were added. For one event loop.

    Theory. An item is in the coalescer or in the batch that is being handled. A batch whose handler raises or is cancelled goes back, in front of what
    waits, before the error is raised: so nothing is lost when a loop ends, and the next one begins where it ended. An item that is added while it is being
    handled is handled once more.
    """

    __slots__ = ("_items", "_max_items", "_waiter")

    def __init__(self, max_items: int | None = None) -> None:
        #: Of one batch; None: all that wait.
        self._max_items = max_items
        self._items: dict[_Item, None] = {}
        #: Set while the loop waits for an item.
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def add(self, item: _Item) -> None:
        """Add an item. One that waits already keeps its place."""
        self._items[item] = None
        if self._waiter is not None:
            self._wake()

    def update(self, items: Iterable[_Item]) -> None:
        """Add these items in their order."""
        self._items.update(dict.fromkeys(items))
        if self._waiter is not None and self._items:
            self._wake()

    def restore(self, items: Iterable[_Item]) -> None:
        """Put items of a batch back, in front of what waits."""
        self._items = dict.fromkeys(items) | self._items
        if self._waiter is not None and self._items:
            self._wake()

    def take(self, max_items: int | None = None) -> list[_Item]:
        """Remove and return the items of the next batch, at most `max_items` if it is given; none if nothing waits."""
        most = max_items or self._max_items
        if most is None or len(self._items) <= most:
            items, self._items = self._items, {}
            return list(items)
        batch = list(islice(self._items, most))
        for item in batch:
            del self._items[item]
        return batch

    async def wait(self) -> None:
        """Wait until there is an item. Only one task may wait."""
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def run(self, handle: Callable[[list[_Item]], Awaitable[object]]) -> Never:
        """Handle batch after batch until cancelled or until `handle` raises; then its batch waits again."""
        while True:
            await self.wait()
            batch = self.take()
            try:
                await handle(batch)
            except BaseException:
                self.restore(batch)
                raise

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
