"""Most of what the SDK does, in one go: `python examples/tour.py CODES [URL]`, where the node writes its one-time codes into the file CODES (VYRY_SMS=file:CODES)."""

import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from vyry.client.client import Client, Profile
from vyry.client.events import Event, Message, Reaction


async def sign_up(client: Client, codes: Path) -> None:
    """A new account, for a number of its own."""
    number = f"+49151{secrets.randbelow(10**8):08d}"

    async def read_code() -> str:
        sent = [json.loads(line) for line in (await asyncio.to_thread(codes.read_text)).splitlines()]
        return str([each["otp"] for each in sent if each["phoneNumber"] == number][-1])

    await client.register(number, read_code, name="the tour")


async def next_of(events: AsyncIterator[Event], kind: type[Event]) -> Event:
    """The next event of that kind."""
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError("events end with the client")


async def tour(ann: Client, bo: Client, folder: Path) -> None:
    """Ann and Bo make a group, talk, and send a file."""
    to_ann, to_bo = ann.events(), bo.events()
    # Between strangers there are invitations: friends add each other.
    await ann.friends.request(bo.user_id)
    await bo.friends.accept(ann.user_id)
    chat = await ann.groups.create([bo.user_id], "The tour")
    await ann.messages.text(chat, "Hello Bo!")
    heard = await next_of(to_bo, Message)
    assert isinstance(heard, Message)
    print(f"Bo hears in {(await bo.conversations.get(chat))['title']!r}: {heard.text}")

    await bo.messages.read(chat, [heard.target])
    await bo.messages.react(chat, heard.target, "👋")
    print(f"Ann sees {(await next_of(to_ann, Reaction)).body['emoji']}")

    (folder / "notes.txt").write_text("what the node cannot read")
    await ann.files.send(chat, folder / "notes.txt", "My notes")
    (folder / "bo").mkdir(exist_ok=True)
    while not (isinstance(heard, Message) and heard.attachments):
        heard = await next_of(to_bo, Message)
    saved = await bo.files.download(heard.attachments[0], folder / "bo")
    print(f"Bo saves {saved.name}: {saved.read_text()}")

    numbers = await ann.safety.number(bo.user_id), await bo.safety.number(ann.user_id)
    print(f"Both see the safety number {numbers[0][:5]}...: {numbers[0] == numbers[1]}")


async def main(codes: str, url: str = "http://127.0.0.1:8000") -> None:
    """Two devices in a folder that goes when it is over."""
    with tempfile.TemporaryDirectory() as name:
        async with AsyncExitStack() as stack:
            ann, bo = [
                await stack.enter_async_context(Client.open(Profile(Path(name) / who, url))) for who in ("ann", "bo")
            ]
            for client in (ann, bo):
                await sign_up(client, Path(codes))
            await tour(ann, bo, Path(name))


asyncio.run(main(*sys.argv[1:]))
