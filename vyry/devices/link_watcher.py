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


POLL_SECONDS: Final = 0.5


@dataclass(eq=False, slots=True)
class LinkSubscription:
    """One request that waits. `is_displaced`: the device has asked again meanwhile, so nobody may be there to hear this answer."""

    state: LinkState | None = None
    is_displaced: bool = False
    state_changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for_change(self, seconds: float) -> None:
        """Wait for news, at most this long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.state_changed.wait()
        self.state_changed.clear()


class LinkWatcher:
    """Looks for all who wait: at once when this node took a step itself, else every half second."""

    def __init__(self, store: LinkStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._subscriptions: dict[UUID, LinkSubscription] = {}
        self._has_subscribers = asyncio.Event()
        self._poll_requested = asyncio.Event()

    @contextmanager
    def subscribe(self, link_id: UUID, state: LinkState) -> Iterator[LinkSubscription]:
        """Be told when this link is no longer in that state. Whoever waited for it before is displaced."""
        if older := self._subscriptions.get(link_id):
            older.is_displaced = True
            older.state_changed.set()
        mine = self._subscriptions[link_id] = LinkSubscription(state)
        self._has_subscribers.set()
        try:
            yield mine
        finally:
            if self._subscriptions.get(link_id) is mine:
                del self._subscriptions[link_id]

    def poll_now(self) -> None:
        """A step was taken here: look at once."""
        self._poll_requested.set()

    async def run(self) -> Never:
        """Look for as long as somebody waits, until cancelled."""
        while True:
            await self._has_subscribers.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._poll_requested.wait()
            self._poll_requested.clear()
            with suppress(Unavailable):
                await self._poll()
            if not self._subscriptions:
                self._has_subscribers.clear()

    async def _poll(self) -> None:
        if not self._subscriptions:
            return
        states = await self._store.load_states(list(self._subscriptions), self._clock.now())
        for link_id, waiting in self._subscriptions.items():
            state = states.get(link_id)
            if state != waiting.state:
                waiting.state = state
                waiting.state_changed.set()
