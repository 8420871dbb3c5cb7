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

from vyry.cli.client.deciding import settled
from vyry.cli.client.examples import MESSAGE, examples
from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.naming import REMEMBERED, conversation
from vyry.cli.client.where import HERE, Where
from vyry.cli.refusals import WrongLine
from vyry.cli.typed import FilePath, Words
from vyry.client import files
from vyry.client.client import Client
from vyry.client.events import Attachment, Message
from vyry.client.saving import safe_name


app: Final = App(
    name="files",
    help="Send files, and fetch what others sent.",
    help_epilogue=examples('files send @bo photo.jpg "look"', f"files get @ann {MESSAGE} ~/Downloads"),
)


@Parameter(name="*")
@dataclass(frozen=True)
class FileHow:
    """How a file is sent.

    Attributes:
        name: What it is called on the other side, if not as here.
        id: A UUID of your own, by which the message is known for ever: a line with one that was given before sends nothing again. For scripts that try again.
    """

    name: Words | None = None
    id: UUID | None = None


PLAINLY: Final = FileHow()


@app.command
def send(
    to: Words,
    file: FilePath,
    text: Words = "",
    /,
    *,
    how: FileHow = PLAINLY,
    where: Where = HERE,
) -> None:
    """Send a file, and wait until the node has it. Broken off, the same line goes on where it was, and sends the file once.

    Args:
        to: A user id, @username, number (+...), or the title or id of a conversation.
        file: Which; - is standard input.
        text: What to say with it.
        how: Under which name and id.
        where: Which device, and its node.
    """
    check_input(file)

    async def act(client: Client) -> None:
        chat = await conversation(client, to)
        with source(file, how.name) as read, bar(where, read.name or "file") as progress:
            content_id = await client.files.send(chat, read, text, id=how.id, progress=progress)
        await settled(client, where, chat, content_id)
        where.say("Sent.", {"id": str(content_id), "conversationId": str(chat)})

    where.run(act)


@app.command
def get(to: Words, message: UUID, into: FilePath = Path(), /, *, where: Where = HERE) -> None:
    """Fetch the files of a message. Broken off, the same line goes on where it was; nothing that is there already is overwritten.

    Args:
        to: Where it was said: a user id, @username, number (+...), or the title or id of a conversation.
        message: Its id, as `receive --json` and `history` tell it.
        into: A folder; for a message with one file also what that is to be called.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        chat = await conversation(client, to)
        for pointer in _pointers(client, chat, message):
            with bar(where, safe_name(pointer.file_name)) as progress:
                saved = await client.files.download(pointer, into, progress)
            body = {"file": str(saved), "size": pointer.size, "mediaType": pointer.media_type}
            where.say(f"Written to {saved}.", body)

    where.run(act)


def check_input(file: Path) -> None:
    """Wait for standard input, where that is the file. A program that failed hands over nothing; a file of a name may be empty. Raises WrongLine."""
    read = sys.stdin.buffer
    if str(file) == "-" and isinstance(read, BufferedReader) and not read.peek(1):
        raise WrongLine("There is nothing to send: standard input is empty.")


@contextmanager
def source(file: Path, name: Words | None = None) -> Iterator[files.Stream]:
    """What is to be sent: a file, or standard input for -. Raises Ended."""
    if str(file) == "-":
        yield files.Stream(sys.stdin.buffer, name)
        return
    try:
        opened = file.open("rb")
    except OSError as failed:
        code = Exit.NOT_FOUND if isinstance(failed, FileNotFoundError) else Exit.FAILED
        raise Ended(code, f"{file} cannot be read ({failed.strerror}).") from None
    with opened:
        yield files.Stream(opened, name or file.name)


@contextmanager
def bar(where: Where, name: str) -> Iterator[files.Progress | None]:
    """How far a file is, on standard error, where a person sits before it."""
    if where.json or not sys.stderr.isatty():
        yield None
        return
    with import_module("vyry.cli.client.progress").shown(name) as progress:
        yield progress


def _pointers(client: Client, chat: UUID, message: UUID) -> tuple[Attachment, ...]:
    for event in client.conversations.history(chat, REMEMBERED):
        if isinstance(event, Message) and event.id == message and event.attachments:
            return event.attachments
    raise Ended(Exit.NOT_FOUND, f"No message {message} with files is in this conversation.")
