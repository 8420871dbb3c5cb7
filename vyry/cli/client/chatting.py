"""`vyry client chat`: a screen for people; scripts have `send` and `receive --json`."""

import sys
from importlib import import_module

from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.naming import conversation
from vyry.cli.client.where import HERE, Where
from vyry.cli.streams import is_person
from vyry.cli.typed import Words
from vyry.client.client import Client


def chat(to: Words | None = None, /, *, where: Where = HERE) -> None:
    """Chat on the whole screen: conversations, what was said, receipts, files, safety numbers. F1 tells the keys, Ctrl+Q ends it.

    Args:
        to: Open this one: a user id, @username, number (+...) or conversation id; without it the latest.
        where: Which device, and its node.
    """
    if where.json or not (is_person() and sys.stdout.isatty()):
        raise Ended(
            Exit.WRONG_LINE,
            "chat needs a terminal: in scripts take `vyry client send` and `vyry client receive --json`.",
        )

    async def act(client: Client) -> None:
        me = client.user_id
        first = None if to is None else await conversation(client, to)
        screen = import_module("vyry.cli.client.chat.screen")
        await screen.Chat(client, me, first).run_async()

    where.run(act)
