"""What is true only now: who types, and who is there. Nothing of it is stored, here or on the node; what nobody hears is gone."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from vyry.client.events import Event, Presence, Typing
from vyry.client.refusals import ClientError
from vyry.client.shapes import STRANGE, device_number, identifier


#: As docs/protocol.md, "Presence", has it: people in one frame, and in all.
_AT_ONCE: Final = 200
MOST_WATCHED: Final = 1_000
#: That somebody types ends by itself after so long.
TYPING_MILLISECONDS: Final = 10_000
#: So many wait for somebody who asks; of more the oldest go.
_WAITING: Final = 256

Say = Callable[[str, dict[str, Any]], Awaitable[None]]


class Live:
    """Hears and says it over whatever socket is open. `news` is set when something was heard; `now` tells ms since 1970."""

    def __init__(self, news: asyncio.Event, now: Callable[[], int]) -> None:
        self._news = news
        self._now = now
        self._heard: deque[tuple[int, Event]] = deque(maxlen=_WAITING)
        self._watched: set[UUID] = set()
        self._say: Say | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a socket is open."""
        return self._say is not None

    async def begin(self, say: Say) -> None:
        """A socket is open: whom one watches is said anew, for the node forgets it with each socket."""
        self._say = say
        await self._tell("watch", sorted(self._watched))

    def end(self) -> None:
        """There is no socket."""
        self._say = None

    def hear(self, kind: str, payload: Mapping[str, Any]) -> None:
        """A frame of the node. A kind that is not known says nothing, nor does what has not the form of its kind."""
        with suppress(*STRANGE):
            if kind == "typing":
                where, who = identifier(payload["conversationId"]), identifier(payload["userId"])
                device_id, is_typing = device_number(payload["deviceId"]), payload["isTyping"] is True
                self._add(Typing(conversation_id=where, user_id=who, device_id=device_id, is_typing=is_typing))
            elif kind == "presence":
                who = identifier(payload["userId"])
                self._add(Presence(user_id=who, is_online=payload["isOnline"] is True))

    def next(self) -> Event | None:
        """The oldest that nobody has heard yet; that somebody typed is no news later."""
        while self._heard:
            at, event = self._heard.popleft()
            if not isinstance(event, Typing) or self._now() - at < TYPING_MILLISECONDS:
                return event
        return None

    async def typing(self, conversation_id: UUID, *, is_typing: bool) -> None:
        """Say that one types, if anybody can hear it now."""
        await self._send("typing", {"conversationId": str(conversation_id), "isTyping": is_typing})

    async def watch(self, user_ids: Sequence[UUID]) -> None:
        """See PresenceRoom."""
        if len(self._watched.union(user_ids)) > MOST_WATCHED:
            raise ClientError(f"A device watches {MOST_WATCHED:,} people at most: unwatch some first.")
        self._watched.update(user_ids)
        await self._tell("watch", user_ids)

    async def unwatch(self, user_ids: Sequence[UUID]) -> None:
        """See PresenceRoom."""
        self._watched.difference_update(user_ids)
        await self._tell("unwatch", user_ids)

    def _add(self, event: Event) -> None:
        self._heard.append((self._now(), event))
        self._news.set()

    async def _tell(self, name: str, people: Sequence[UUID]) -> None:
        for some in _parts(people):
            await self._send(name, {"userIds": [str(each) for each in some]})

    async def _send(self, name: str, payload: dict[str, Any]) -> None:
        """What cannot go out now never does: the next socket begins anew."""
        if self._say is not None:
            with suppress(ConnectionError):
                await self._say(name, payload)


class PresenceRoom:
    """Who is there. Only friends who show it are ever told of (docs/protocol.md, "Presence")."""

    def __init__(self, live: Live) -> None:
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


def _parts(people: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(people), _AT_ONCE):
        yield people[start : start + _AT_ONCE]
