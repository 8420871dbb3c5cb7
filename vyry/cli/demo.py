"""`vyry demo`: a temporary node and two users who chat in this terminal."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from cyclopts import Parameter, validators

from vyry.cli.client.terminal_text import indent_continuation
from vyry.cli.command_line import JsonFlag
from vyry.cli.prompts import read_line
from vyry.cli.stdio import is_interactive
from vyry.cli.temporary_node import NodeHandle, random_phone_number, temporary_node
from vyry.client.api.client import Client, Profile
from vyry.client.store.events import Event


_SCRIPTED_MESSAGES: Final = (
    ("Ann", "Hello Bo, the node cannot read this."),
    ("Bo", "Nor this, Ann: it holds public keys and sealed envelopes, nothing else."),
    ("Ann", "And when it crashes in between?"),
    ("Bo", "Then this message waits on my device until the node is back, and arrives once and in order."),
)
_CANNED_REPLIES: Final = (
    "I got that.",
    "Say more!",
    "Only you and I can read this.",
    "Number by number, without a gap.",
)


def demo(
    *,
    seconds: Annotated[float | None, Parameter(validator=validators.Number(gt=0))] = None,
    as_json: JsonFlag = False,
) -> int:
    """Run a demo: two users chat on a temporary node.

    It starts the node, registers two users, and chats between them. You are Ann.

    What you type is sent to Bo, end-to-end encrypted, and he answers. An empty line ends the demo; all its data is then deleted.

    Args:
        seconds: Let the two users chat automatically for this many seconds instead.
        as_json: Print one JSON object per line.
    """
    with temporary_node() as place:
        return asyncio.run(_Demo(place, as_json=as_json).run(seconds))


@dataclass
class _DemoUser:
    """A user of the demo."""

    name: str
    client: Client
    events: AsyncIterator[Event]


@dataclass
class _Demo:
    """One run of the demo; prints each step."""

    node: NodeHandle
    as_json: bool
    users: dict[str, _DemoUser] = field(default_factory=dict)
    message_count: int = 0

    async def run(self, seconds: float | None) -> int:
        """Run from registration to the end and return the exit code."""
        self._print_event(f"A temporary node is running on {self.node.url}.", "node", {"url": self.node.url})
        async with self._registered_user("Ann") as ann, self._registered_user("Bo") as bo:
            self.users = {"Ann": ann, "Bo": bo}
            chat = await ann.client.direct(bo.client.user_id)
            for name, text in _SCRIPTED_MESSAGES:
                await self._send_and_wait(chat, name, text)
            if seconds is None:
                await self._chat_interactively(chat)
            else:
                await self._chat_automatically(chat, seconds)
        self._print_event(
            f"{self.message_count} messages, each received exactly once. The node and all its data are deleted.",
            "end",
            {"messages": self.message_count},
        )
        return 0

    @asynccontextmanager
    async def _registered_user(self, name: str) -> AsyncIterator[_DemoUser]:
        async with Client.open(Profile(self.node.profiles_folder / name, self.node.url)) as client:
            number = random_phone_number()
            user_id = await client.register(number, lambda: self.node.latest_code(number))
            self._print_event(
                f"{name} registered as {user_id}; the private keys stay in an encrypted file on {name}'s device.",
                "signedUp",
                {"name": name, "userId": str(user_id)},
            )
            yield _DemoUser(name, client, client.events())

    async def _send_and_wait(self, chat: UUID, name: str, text: str) -> None:
        """Send a message and wait until the other user has received it."""
        began = time.monotonic()
        await self.users[name].client.send_text(chat, text)
        (reader,) = self.users.keys() - {name}
        async for event in self.users[reader].events:
            if event.name == "message":
                break
        else:
            raise AssertionError("the events ended")
        took = (time.monotonic() - began) * 1000
        self.message_count += 1
        read = event.body["text"]
        body = {"from": name, "to": reader, "text": read, "milliseconds": round(took, 1)}
        self._print_event(f"{name:>5} | {read}   ({reader} read it after {took:.0f} ms)", "said", body)

    async def _chat_automatically(self, chat: UUID, seconds: float) -> None:
        """Both users write by themselves, a message each half second."""
        end = time.monotonic() + seconds
        for number in itertools.count(1):
            if time.monotonic() >= end:
                return
            await self._send_and_wait(chat, "Ann", f"Line {number} of mine.")
            await self._send_and_wait(chat, "Bo", _CANNED_REPLIES[number % len(_CANNED_REPLIES)])
            await asyncio.sleep(min(0.5, max(0.0, end - time.monotonic())))

    async def _chat_interactively(self, chat: UUID) -> None:
        """The user at the keyboard is Ann."""
        if is_interactive():
            print("You are Ann now: type a line for Bo. An empty line ends.", flush=True)
        for answer in itertools.cycle(_CANNED_REPLIES):
            typed = (await read_line("") or "").strip()
            if not typed:
                return
            await self._send_and_wait(chat, "Ann", typed)
            await self._send_and_wait(chat, "Bo", answer)

    def _print_event(self, text: str, event: str, body: Mapping[str, Any]) -> None:
        print(
            orjson.dumps({"event": event, **body}).decode() if self.as_json else indent_continuation(text), flush=True
        )
