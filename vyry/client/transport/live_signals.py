"""Typing and presence: stored neither here nor on the node, and lost without a connection."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from vyry.client.errors import ClientError
from vyry.client.store.events import Event, Presence, Typing
from vyry.client.transport.validation import INVALID_SHAPE, read_device_id, read_uuid
from vyry.kernel.batches import batched


#: Accounts in one frame, and in all (docs/protocol.md, "Presence").
_IDS_PER_FRAME: Final = 200
MAX_WATCHED: Final = 1_000
#: Ms after which typing ends without a stop.
TYPING_MILLISECONDS: Final = 10_000
#: Undelivered events that are kept; beyond that the oldest are dropped.
_MAX_PENDING: Final = 256

SendFrame = Callable[[str, dict[str, Any]], Awaitable[None]]


class LiveSignals:
    """Receives and sends live signals over the open socket, if any. `event_ready` is set when one arrived; `now` is ms since 1970."""

    def __init__(self, event_ready: asyncio.Event, now: Callable[[], int]) -> None:
        self._event_ready = event_ready
        self._now = now
        self._pending: deque[tuple[int, Event]] = deque(maxlen=_MAX_PENDING)
        self._watched: set[UUID] = set()
        self._send_frame: SendFrame | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a socket is open."""
        return self._send_frame is not None

    async def attach(self, send_frame: SendFrame) -> None:
        """A socket is open: watched accounts are sent again, because the node forgets them with each socket."""
        self._send_frame = send_frame
        await self._send_watch("watch", sorted(self._watched))

    def detach(self) -> None:
        """The socket is closed."""
        self._send_frame = None

    def receive_frame(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Process a frame of the node. Unknown kinds and malformed frames are ignored."""
        with suppress(*INVALID_SHAPE):
            if kind == "typing":
                conversation_id, user_id = read_uuid(payload["conversationId"]), read_uuid(payload["userId"])
                device_id, is_typing = read_device_id(payload["deviceId"]), payload["isTyping"] is True
                self._add(
                    Typing(conversation_id=conversation_id, user_id=user_id, device_id=device_id, is_typing=is_typing)
                )
            elif kind == "presence":
                user_id = read_uuid(payload["userId"])
                self._add(Presence(user_id=user_id, is_online=payload["isOnline"] is True))

    def next_event(self) -> Event | None:
        """The oldest event that was not delivered; old typing events are dropped."""
        while self._pending:
            at, event = self._pending.popleft()
            if not isinstance(event, Typing) or self._now() - at < TYPING_MILLISECONDS:
                return event
        return None

    async def typing(self, conversation_id: UUID, *, is_typing: bool) -> None:
        """Send that the user types, if a socket is open."""
        await self._send("typing", {"conversationId": str(conversation_id), "isTyping": is_typing})

    async def watch(self, user_ids: Sequence[UUID]) -> None:
        """See PresenceSubscriptions."""
        if len(self._watched.union(user_ids)) > MAX_WATCHED:
            raise ClientError(f"A device can watch the presence of at most {MAX_WATCHED:,} users: unwatch some first.")
        self._watched.update(user_ids)
        await self._send_watch("watch", user_ids)

    async def unwatch(self, user_ids: Sequence[UUID]) -> None:
        """See PresenceSubscriptions."""
        self._watched.difference_update(user_ids)
        await self._send_watch("unwatch", user_ids)

    def _add(self, event: Event) -> None:
        self._pending.append((self._now(), event))
        self._event_ready.set()

    async def _send_watch(self, name: str, people: Sequence[UUID]) -> None:
        for some in batched(people, _IDS_PER_FRAME):
            await self._send(name, {"userIds": [str(each) for each in some]})

    async def _send(self, name: str, payload: dict[str, Any]) -> None:
        """Dropped without a socket: the next one starts again."""
        if self._send_frame is not None:
            with suppress(ConnectionError):
                await self._send_frame(name, payload)


class PresenceSubscriptions:
    """Presence of friends. The node reports only friends who show it (docs/protocol.md, "Presence")."""

    def __init__(self, live: LiveSignals) -> None:
        self._live = live

    @property
    def is_connected(self) -> bool:
        """Whether this device is connected."""
        return self._live.is_connected

    async def watch(self, user_ids: Sequence[UUID]) -> None:
        """Receive `presence` events of these accounts, once now and on each change, also after a reconnect. Raises ClientError beyond 1,000 accounts."""
        await self._live.watch(user_ids)

    async def unwatch(self, user_ids: Sequence[UUID]) -> None:
        """Stop receiving them."""
        await self._live.unwatch(user_ids)
