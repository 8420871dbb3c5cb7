"""Commands that say something, and that tell what was said."""

import sys
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from vyry.cli.client.telling import line
from vyry.cli.client.where import HERE, Where
from vyry.client.client import Client


def send(user_id: UUID, text: str | None = None, /, *, where: Where = HERE) -> None:
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

    where.run(act)


def receive(*, follow: Annotated[bool, Parameter(negative=())] = False, where: Where = HERE) -> None:
    """Print what came since the last time.

    Args:
        follow: Go on until interrupted.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        async for event in client.events(follow=follow):
            where.say(line(event.name, event.body), {"event": event.name, **event.body})

    where.run(act)
