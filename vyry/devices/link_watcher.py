"""The requests on this node that wait for a link. One statement each half second serves all of them, on whichever node the link changes."""

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
    """A waiting request. `is_displaced`: the device has sent another request meanwhile, so it may not receive this response."""

    state: LinkState | None = None
    is_displaced: bool = False
    state_changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for_change(self, seconds: float) -> None:
        """Wait for a change, at most this long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.state_changed.wait()
        self.state_changed.clear()


class LinkWatcher:
    """Polls the links of all waiting requests: at once after a step on this node, else every half second."""

    def __init__(self, store: LinkStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._subscriptions: dict[UUID, LinkSubscription] = {}
        self._has_subscribers = asyncio.Event()
        self._poll_requested = asyncio.Event()

    @contextmanager
    def subscribe(self, link_id: UUID, state: LinkState) -> Iterator[LinkSubscription]:
        """Subscribe to changes of a link from `state` on; displaces an earlier subscription."""
        if earlier := self._subscriptions.get(link_id):
            earlier.is_displaced = True
            earlier.state_changed.set()
        subscription = self._subscriptions[link_id] = LinkSubscription(state)
        self._has_subscribers.set()
        try:
            yield subscription
        finally:
            if self._subscriptions.get(link_id) is subscription:
                del self._subscriptions[link_id]

    def poll_now(self) -> None:
        """Poll at once, after a step on this node."""
        self._poll_requested.set()

    async def run(self) -> Never:
        """Poll while there are subscriptions, until cancelled."""
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
        for link_id, subscription in self._subscriptions.items():
            state = states.get(link_id)
            if state != subscription.state:
                subscription.state = state
                subscription.state_changed.set()
