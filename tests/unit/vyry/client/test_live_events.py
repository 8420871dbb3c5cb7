"""Typing and presence are delivered only while they are true."""

import asyncio
from typing import Any
from uuid import uuid4

from vyry.client.store.events import Presence
from vyry.client.transport.live_signals import TYPING_MILLISECONDS, LiveSignals


TYPES = {"conversationId": str(uuid4()), "userId": str(uuid4()), "deviceId": 1, "isTyping": True}
THERE = {"userId": str(uuid4()), "isOnline": True}


def test_who_typed_long_ago_is_told_no_more_and_who_is_there_still() -> None:
    now = [0]
    live = LiveSignals(asyncio.Event(), lambda: now[0])
    live.receive_frame("typing", TYPES)
    live.receive_frame("presence", THERE)
    now[0] = TYPING_MILLISECONDS

    assert isinstance(live.next_event(), Presence)
    assert live.next_event() is None


def test_what_this_version_does_not_know_says_nothing() -> None:
    live = LiveSignals(asyncio.Event(), lambda: 0)
    live.receive_frame("a frame of tomorrow", {})

    assert live.next_event() is None


async def test_each_socket_is_told_whom_one_watches_and_a_lost_one_breaks_nothing() -> None:
    said: list[tuple[str, int]] = []

    async def say(name: str, payload: dict[str, Any]) -> None:
        said.append((name, len(payload["userIds"])))
        if len(said) > 2:
            raise ConnectionResetError

    live = LiveSignals(asyncio.Event(), lambda: 0)
    await live.watch([uuid4() for _ in range(300)])
    await live.attach(say)
    await live.watch([uuid4()])
    live.detach()
    await live.watch([uuid4()])

    assert said == [("watch", 200), ("watch", 100), ("watch", 1)]
