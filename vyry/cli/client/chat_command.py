"""`vyry client chat`: starts the full-screen client. Textual is imported only then."""

import sys
from importlib import import_module

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.names import resolve_conversation
from vyry.cli.command_line import FreeText
from vyry.cli.stdio import is_interactive
from vyry.client.api.client import Client


def chat(conversation: FreeText | None = None, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Chat on the whole screen: conversations, what was said, receipts, files, safety numbers. F1 tells the keys, Ctrl+Q ends it.

    Args:
        conversation: Open this one: a user id, @username, number (+...) or conversation id; without it the latest.
        context: Which device, and its node.
    """
    if context.json or not (is_interactive() and sys.stdout.isatty()):
        raise CommandFailed(
            Exit.WRONG_LINE,
            "chat needs a terminal: in scripts take `vyry client send` and `vyry client receive --json`.",
        )

    async def act(client: Client) -> None:
        me = client.user_id
        first = None if conversation is None else await resolve_conversation(client, conversation)
        screen = import_module("vyry.cli.client.chat.screen")
        await screen.ChatApp(client, me, first).run_async()

    context.run(act)
