"""Says back what it hears, once, whatever is killed in between. First `vyry client register NUMBER --profile ./echo`, then `python examples/echo_bot.py ./echo [URL]`."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid5

from vyry.client.client import Client, Profile
from vyry.client.events import Message


async def main(folder: str, url: str = "http://127.0.0.1:8000") -> None:
    """An event that was not done with comes again after a crash; what is said under an id that was said before is not said again."""
    async with Client.open(Profile(Path(folder), url)) as client:
        async for event in client.events():
            if isinstance(event, Message) and not event.is_own:
                echo = {"text": event.text, "replyTo": event.target.as_json()}
                await client.send(event.conversation_id, "text", echo, uuid5(event.id, "echo"))


with suppress(KeyboardInterrupt):
    asyncio.run(main(*sys.argv[1:]))
