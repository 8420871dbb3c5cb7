"""A notification listener that records what it received, in order."""

import asyncio
from collections.abc import Collection
from uuid import UUID

from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import CacheTopic, NoSockets


class RecordingListener(NoSockets):
    """Each event once, as a tuple whose first word says what it was."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()

    def on_notify(self, mailboxes: Collection[MailboxKey]) -> None:
        self._events.put_nowait(("notify", set(mailboxes)))

    def on_displaced(self, mailbox: MailboxKey, connection: int) -> None:
        self._events.put_nowait(("displaced", mailbox, connection))

    def on_relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> None:
        self._events.put_nowait(("relay", set(mailboxes), frame))

    def on_invalidated(self, topic: CacheTopic, ids: Collection[UUID]) -> None:
        self._events.put_nowait(("changed", topic, set(ids)))

    def on_hints_lost(self) -> None:
        self._events.put_nowait(("gap",))

    async def next_event(self, seconds: float = 5.0) -> tuple[object, ...]:
        """The next event; fails when there is none in time."""
        async with asyncio.timeout(seconds):
            return await self._events.get()
