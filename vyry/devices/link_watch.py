"""Who waits on this node for which link. All their questions are one statement each half second, whichever node a step was taken on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Never
from uuid import UUID

from vyry.clock import Clock
from vyry.devices.links import LinkState, LinkStore
from vyry.errors import Unavailable


LOOK_SECONDS: Final = 0.5


@dataclass(eq=False, slots=True)
class Waiting:
    """One request that waits. `is_displaced`: the device has asked again meanwhile, so nobody may be there to hear this answer."""

    state: LinkState | None = None
    is_displaced: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def hear(self, seconds: float) -> None:
        """Wait for news, at most this long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.news.wait()
        self.news.clear()


class LinkWatch:
    """Looks for all who wait: at once when this node took a step itself, else every half second."""

    def __init__(self, store: LinkStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[UUID, Waiting] = {}
        self._somebody = asyncio.Event()
        self._ring = asyncio.Event()

    @contextmanager
    def waiting(self, link_id: UUID, state: LinkState) -> Iterator[Waiting]:
        """Be told when this link is no longer in that state. Whoever waited for it before is displaced."""
        if older := self._waiting.get(link_id):
            older.is_displaced = True
            older.news.set()
        mine = self._waiting[link_id] = Waiting(state)
        self._somebody.set()
        try:
            yield mine
        finally:
            if self._waiting.get(link_id) is mine:
                del self._waiting[link_id]

    def ring(self) -> None:
        """A step was taken here: look at once."""
        self._ring.set()

    async def run(self) -> Never:
        """Look for as long as somebody waits, until cancelled."""
        while True:
            await self._somebody.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._ring.wait()
            self._ring.clear()
            with suppress(Unavailable):
                await self._look()
            if not self._waiting:
                self._somebody.clear()

    async def _look(self) -> None:
        if not self._waiting:
            return
        states = await self._store.look(list(self._waiting), self._clock.now())
        for link_id, waiting in self._waiting.items():
            state = states.get(link_id)
            if state != waiting.state:
                waiting.state = state
                waiting.news.set()
