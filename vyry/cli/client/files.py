"""Commands about files, and the bar that shows how far one is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import Final
from uuid import UUID

from cyclopts import App, Parameter

from vyry.cli.client.app import EXAMPLE_MESSAGE_ID, format_examples
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.decision_texts import wait_until_sent
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.names import HISTORY_SEARCH_LIMIT, resolve_conversation
from vyry.cli.command_line import FilePath, FreeText
from vyry.cli.errors import UsageError
from vyry.client.api import files
from vyry.client.api.client import Client
from vyry.client.store.downloads import safe_name
from vyry.client.store.events import Attachment, Message


app: Final = App(
    name="files",
    help="Send files, and fetch what others sent.",
    help_epilogue=format_examples(
        'files send @bo photo.jpg "look"', f"files get @ann {EXAMPLE_MESSAGE_ID} ~/Downloads"
    ),
)


@Parameter(name="*")
@dataclass(frozen=True)
class FileOptions:
    """How a file is sent.

    Attributes:
        name: What it is called on the other side, if not as here.
        id: A UUID of your own, by which the message is known for ever: a line with one that was given before sends nothing again. For scripts that try again.
    """

    name: FreeText | None = None
    id: UUID | None = None


DEFAULT_FILE_OPTIONS: Final = FileOptions()


@app.command
def send(
    conversation: FreeText,
    file: FilePath,
    text: FreeText = "",
    /,
    *,
    how: FileOptions = DEFAULT_FILE_OPTIONS,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Send a file, and wait until the node has it. Broken off, the same line goes on where it was, and sends the file once.

    Args:
        conversation: A user id, @username, number (+...), or the title or id of a conversation.
        file: Which; - is standard input.
        text: What to say with it.
        how: Under which name and id.
        context: Which device, and its node.
    """
    require_stdin_content(file)

    async def act(client: Client) -> None:
        chat = await resolve_conversation(client, conversation)
        with open_source(file, how.name) as read, progress_display(context, read.name or "file") as progress:
            content_id = await client.files.send(chat, read, text, id=how.id, progress=progress)
        await wait_until_sent(client, context, chat, content_id)
        context.print_result("Sent.", {"id": str(content_id), "conversationId": str(chat)})

    context.run(act)


@app.command
def get(
    conversation: FreeText, message: UUID, into: FilePath = Path(), /, *, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Fetch the files of a message. Broken off, the same line goes on where it was; nothing that is there already is overwritten.

    Args:
        conversation: Where it was said: a user id, @username, number (+...), or the title or id of a conversation.
        message: Its id, as `receive --json` and `history` tell it.
        into: A folder; for a message with one file also what that is to be called.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        chat = await resolve_conversation(client, conversation)
        for pointer in _find_attachments(client, chat, message):
            with progress_display(context, safe_name(pointer.file_name)) as progress:
                saved = await client.files.download(pointer, into, progress)
            body = {"file": str(saved), "size": pointer.size, "mediaType": pointer.media_type}
            context.print_result(f"Written to {saved}.", body)

    context.run(act)


def require_stdin_content(file: Path) -> None:
    """Wait for standard input, where that is the file. A program that failed hands over nothing; a file of a name may be empty. Raises WrongLine."""
    read = sys.stdin.buffer
    if str(file) == "-" and isinstance(read, BufferedReader) and not read.peek(1):
        raise UsageError("There is nothing to send: standard input is empty.")


@contextmanager
def open_source(file: Path, name: FreeText | None = None) -> Iterator[files.Stream]:
    """What is to be sent: a file, or standard input for -. Raises Ended."""
    if str(file) == "-":
        yield files.Stream(sys.stdin.buffer, name)
        return
    try:
        opened = file.open("rb")
    except OSError as failed:
        code = Exit.NOT_FOUND if isinstance(failed, FileNotFoundError) else Exit.FAILED
        raise CommandFailed(code, f"{file} cannot be read ({failed.strerror}).") from None
    with opened:
        yield files.Stream(opened, name or file.name)


@contextmanager
def progress_display(context: CommandContext, name: str) -> Iterator[files.ProgressCallback | None]:
    """How far a file is, on standard error, where a person sits before it."""
    if context.json or not sys.stderr.isatty():
        yield None
        return
    with import_module("vyry.cli.client.progress").progress_bar(name) as progress:
        yield progress


def _find_attachments(client: Client, chat: UUID, message: UUID) -> tuple[Attachment, ...]:
    for event in client.conversations.history(chat, HISTORY_SEARCH_LIMIT):
        if isinstance(event, Message) and event.id == message and event.attachments:
            return event.attachments
    raise CommandFailed(Exit.NOT_FOUND, f"No message {message} with files is in this conversation.")
