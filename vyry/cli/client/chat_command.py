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
    """Open the full-screen chat.

    It shows conversations, messages, receipts, files and safety numbers. F1 shows the keys, Ctrl+Q quits.

    Args:
        conversation: The conversation to open: user id, @username, phone number (+...), title or conversation id (default: the latest one).
    """
    if context.json or not (is_interactive() and sys.stdout.isatty()):
        raise CommandFailed(
            Exit.WRONG_LINE,
            "chat needs a terminal. In scripts use `vyry client send` and `vyry client receive --json`.",
        )

    async def act(client: Client) -> None:
        me = client.user_id
        first = None if conversation is None else await resolve_conversation(client, conversation)
        screen = import_module("vyry.cli.client.chat.screen")
        await screen.ChatApp(client, me, first).run_async()

    context.run(act)
