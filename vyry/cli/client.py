"""`vyry client`: chat from a terminal or a script. A profile is a folder; everything in it is sealed."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import orjson
from cyclopts import App, Parameter

from vyry.cli.refusals import CannotServe
from vyry.client.client import Client, Profile
from vyry.client.inbox import Event
from vyry.client.refusals import ClientError
from vyry.signal_protocol.refusals import Refusal


app = App(name="client", help="Chat from the terminal: end to end, with keys that stay in this profile.")


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Which device speaks, and to which node.

    Attributes:
        profile: The device: a name under ~/.vyry, or a path with a slash.
        url: Its node.
        json: One JSON object a line, for bots and scripts.
    """

    profile: str = "default"
    url: str = "http://127.0.0.1:8000"
    json: Annotated[bool, Parameter(negative=())] = False

    @property
    def folder(self) -> Path:
        """Where the profile lies."""
        return Path(self.profile) if "/" in self.profile else Path.home() / ".vyry" / self.profile

    def say(self, text: str, body: dict[str, Any]) -> None:
        """A line for people, or for programs."""
        print(orjson.dumps(body).decode() if self.json else text, flush=True)


_HERE = Where()


@app.command
def register(phone_number: str, /, *, where: Where = _HERE) -> None:
    """Sign up with a telephone number; the code that it is sent is asked for. All other devices of the account end.

    Args:
        phone_number: In E.164, such as +491512345678.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        user_id = await client.register(phone_number, _typed_code)
        where.say(f"Registered: your user id is {user_id}.", {"userId": str(user_id)})

    _run(where, act)


@app.command
def whoami(*, where: Where = _HERE) -> None:
    """Print the user id by which others find you."""

    async def act(client: Client) -> None:
        where.say(str(client.user_id), {"userId": str(client.user_id)})

    _run(where, act)


@app.command
def send(user_id: UUID, text: str | None = None, /, *, where: Where = _HERE) -> None:
    """Send a message, and wait until the node has it.

    Args:
        user_id: Whom to.
        text: What to say; without it, standard input is read.
        where: Which device, and its node.
    """
    said = sys.stdin.read() if text is None else text

    async def act(client: Client) -> None:
        content_id = await client.send_text(await client.direct(user_id), said)
        await client.sent()
        where.say("Sent.", {"id": str(content_id)})

    _run(where, act)


@app.command
def receive(*, follow: Annotated[bool, Parameter(negative=())] = False, where: Where = _HERE) -> None:
    """Print what came since the last time.

    Args:
        follow: Go on until interrupted.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        async for event in client.events(follow=follow):
            where.say(_line(event), {"event": event.name, **event.body})

    _run(where, act)


def _line(event: Event) -> str:
    body = event.body
    texts = {
        "message": lambda: f"{body['senderId']}: {body.get('text') or '(' + body['kind'] + ')'}",
        "unreadable": lambda: f"A message of {body['senderId']} could not be read ({body['reason']}).",
        "lost": lambda: f"{body['count']} messages were lost on the node ({body['reason']}).",
        "notSent": lambda: f"A message could not be sent ({body['reason']}).",
        "notice": lambda: f"Notice: {body['name']}",
    }
    return texts[event.name]()


def _run(where: Where, act: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    refusals: list[Exception] = []
    try:
        asyncio.run(_acted(where, act))
    except* (ClientError, Refusal) as problems:
        # Raised in here it would be wrapped into a group again, on some versions of Python.
        refusals += problems.exceptions
    if refusals:
        raise CannotServe(str(refusals[0]))


async def _acted(where: Where, act: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async with Client.open(Profile(where.folder, where.url)) as client:
        await act(client)


async def _typed_code() -> str:
    return (await asyncio.to_thread(input, "The code that was sent: ")).strip()
