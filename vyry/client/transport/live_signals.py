"""What is true only now: who types, and who is there. Nothing of it is stored, here or on the node; what nobody hears is gone."""

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


#: As docs/protocol.md, "Presence", has it: people in one frame, and in all.
_AT_ONCE: Final = 200
MAX_WATCHED: Final = 1_000
#: That somebody types ends by itself after so long.
TYPING_MILLISECONDS: Final = 10_000
#: So many wait for somebody who asks; of more the oldest go.
_WAITING: Final = 256

SendFrame = Callable[[str, dict[str, Any]], Awaitable[None]]


class LiveSignals:
    """Hears and says it over whatever socket is open. `news` is set when something was heard; `now` tells ms since 1970."""

    def __init__(self, event_ready: asyncio.Event, now: Callable[[], int]) -> None:
        self._event_ready = event_ready
        self._now = now
        self._pending: deque[tuple[int, Event]] = deque(maxlen=_WAITING)
        self._watched: set[UUID] = set()
        self._send_frame: SendFrame | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a socket is open."""
        return self._send_frame is not None

    async def attach(self, send_frame: SendFrame) -> None:
        """A socket is open: whom one watches is said anew, for the node forgets it with each socket."""
        self._send_frame = send_frame
        await self._send_watch("watch", sorted(self._watched))

    def detach(self) -> None:
        """There is no socket."""
        self._send_frame = None

    def receive_frame(self, kind: str, payload: Mapping[str, Any]) -> None:
        """A frame of the node. A kind that is not known says nothing, nor does what has not the form of its kind."""
        with suppress(*INVALID_SHAPE):
            if kind == "typing":
                where, who = read_uuid(payload["conversationId"]), read_uuid(payload["userId"])
                device_id, is_typing = read_device_id(payload["deviceId"]), payload["isTyping"] is True
                self._add(Typing(conversation_id=where, user_id=who, device_id=device_id, is_typing=is_typing))
            elif kind == "presence":
                who = read_uuid(payload["userId"])
                self._add(Presence(user_id=who, is_online=payload["isOnline"] is True))

    def next_event(self) -> Event | None:
        """The oldest that nobody has heard yet; that somebody typed is no news later."""
        while self._pending:
            at, event = self._pending.popleft()
            if not isinstance(event, Typing) or self._now() - at < TYPING_MILLISECONDS:
                return event
        return None

    async def typing(self, conversation_id: UUID, *, is_typing: bool) -> None:
        """Say that one types, if anybody can hear it now."""
        await self._send("typing", {"conversationId": str(conversation_id), "isTyping": is_typing})

    async def watch(self, user_ids: Sequence[UUID]) -> None:
        """See PresenceRoom."""
        if len(self._watched.union(user_ids)) > MAX_WATCHED:
            raise ClientError(f"A device watches {MAX_WATCHED:,} people at most: unwatch some first.")
        self._watched.update(user_ids)
        await self._send_watch("watch", user_ids)

    async def unwatch(self, user_ids: Sequence[UUID]) -> None:
        """See PresenceRoom."""
        self._watched.difference_update(user_ids)
        await self._send_watch("unwatch", user_ids)

    def _add(self, event: Event) -> None:
        self._pending.append((self._now(), event))
        self._event_ready.set()

    async def _send_watch(self, name: str, people: Sequence[UUID]) -> None:
        for some in batched(people, _AT_ONCE):
            await self._send(name, {"userIds": [str(each) for each in some]})

    async def _send(self, name: str, payload: dict[str, Any]) -> None:
        """What cannot go out now never does: the next socket begins anew."""
        if self._send_frame is not None:
            with suppress(ConnectionError):
                await self._send_frame(name, payload)


class PresenceSubscriptions:
    """Who is there. Only friends who show it are ever told of (docs/protocol.md, "Presence")."""

    def __init__(self, live: LiveSignals) -> None:
        self._live = live

    @property
    def is_connected(self) -> bool:
        """Whether this device itself is connected now."""
        return self._live.is_connected

    async def watch(self, user_ids: Sequence[UUID]) -> None:
        """Hear `presence` events of these people, once now and on each change, also after the connection was lost. Raises ClientError beyond 1,000 people."""
        await self._live.watch(user_ids)

    async def unwatch(self, user_ids: Sequence[UUID]) -> None:
        """Hear no more of them."""
        await self._live.unwatch(user_ids)
