"""Answers each message with the same text, once, also after a crash. First `vyry client register NUMBER --profile ./echo`, then `python examples/echo_bot.py ./echo [URL]`."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid5

from vyry.client.client import Client, Profile
from vyry.client.events import Message


async def main(folder: str, url: str = "http://127.0.0.1:8000") -> None:
    """After a crash the last uncompleted event is delivered again. A content with an id that was already sent is not sent again."""
    async with Client.open(Profile(Path(folder), url)) as client:
        async for event in client.events():
            if isinstance(event, Message) and not event.is_own:
                echo = {"text": event.text, "replyTo": event.target.as_json()}
                await client.send(event.conversation_id, "text", echo, uuid5(event.id, "echo"))


with suppress(KeyboardInterrupt):
    asyncio.run(main(*sys.argv[1:]))
