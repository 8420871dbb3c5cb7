"""`vyry client files`: send and download files, with a progress bar."""

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
from vyry.cli.client.names import HISTORY_SEARCH_LIMIT, MessageConversation, Recipient, resolve_conversation
from vyry.cli.command_line import FilePath, FreeText
from vyry.cli.errors import UsageError
from vyry.client.api import files
from vyry.client.api.client import Client
from vyry.client.store.downloads import safe_name
from vyry.client.store.events import Attachment, Message


app: Final = App(
    name="files",
    help_epilogue=format_examples(
        'files send @bo photo.jpg "look"', f"files get @ann {EXAMPLE_MESSAGE_ID} ~/Downloads"
    ),
)


@Parameter(name="*")
@dataclass(frozen=True)
class FileOptions:
    """Options of a file message.

    Attributes:
        name: File name for the recipient (default: the name of the file).
        id: Message id (UUID) to make retries safe: a second send with the same id does not send the message again.
    """

    name: FreeText | None = None
    id: UUID | None = None


DEFAULT_FILE_OPTIONS: Final = FileOptions()


@app.command
def send(
    conversation: Recipient,
    file: FilePath,
    text: FreeText = "",
    /,
    *,
    how: FileOptions = DEFAULT_FILE_OPTIONS,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Send a file and wait until the node has accepted it. If interrupted, run the same command to resume; the file is sent once.

    Args:
        file: The file to send; - reads standard input.
        text: A message to send with the file.
        how: File name and id.
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
    conversation: MessageConversation,
    message: UUID,
    into: FilePath = Path(),
    /,
    *,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Download the files of a message. If interrupted, run the same command to resume. Existing files are not overwritten.

    Args:
        message: The message id, as printed by `receive --json` and `history`.
        into: The target folder; for a message with one file also a file name.
    """

    async def act(client: Client) -> None:
        chat = await resolve_conversation(client, conversation)
        for pointer in _find_attachments(client, chat, message):
            with progress_display(context, safe_name(pointer.file_name)) as progress:
                saved = await client.files.download(pointer, into, progress)
            body = {"file": str(saved), "size": pointer.size, "mediaType": pointer.media_type}
            context.print_result(f"Saved to {saved}.", body)

    context.run(act)


def require_stdin_content(file: Path) -> None:
    """Raises UsageError when the file is standard input and it is empty, as after a failed program in a pipe. A named file may be empty."""
    read = sys.stdin.buffer
    if str(file) == "-" and isinstance(read, BufferedReader) and not read.peek(1):
        raise UsageError("Nothing to send: standard input is empty.")


@contextmanager
def open_source(file: Path, name: FreeText | None = None) -> Iterator[files.Stream]:
    """Open the file to send; - is standard input. Raises CommandFailed."""
    if str(file) == "-":
        yield files.Stream(sys.stdin.buffer, name)
        return
    try:
        opened = file.open("rb")
    except OSError as failed:
        code = Exit.NOT_FOUND if isinstance(failed, FileNotFoundError) else Exit.FAILED
        raise CommandFailed(code, f"Cannot read {file} ({failed.strerror}).") from None
    with opened:
        yield files.Stream(opened, name or file.name)


@contextmanager
def progress_display(context: CommandContext, name: str) -> Iterator[files.ProgressCallback | None]:
    """Progress of a transfer on standard error, if that is a terminal."""
    if context.json or not sys.stderr.isatty():
        yield None
        return
    with import_module("vyry.cli.client.progress").progress_bar(name) as progress:
        yield progress


def _find_attachments(client: Client, chat: UUID, message: UUID) -> tuple[Attachment, ...]:
    for event in client.conversations.history(chat, HISTORY_SEARCH_LIMIT):
        if isinstance(event, Message) and event.id == message and event.attachments:
            return event.attachments
    raise CommandFailed(Exit.NOT_FOUND, f"This conversation has no message {message} with files.")
