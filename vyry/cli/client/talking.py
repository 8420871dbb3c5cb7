"""Commands that say something."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cyclopts import Parameter

from vyry.cli.client.deciding import settled
from vyry.cli.client.files import bar, check_input, source
from vyry.cli.client.naming import conversation, target
from vyry.cli.client.where import HERE, Where
from vyry.cli.refusals import WrongLine
from vyry.cli.streams import whole_text
from vyry.cli.typed import FilePath, Words
from vyry.client.client import Client
from vyry.client.events import Target
from vyry.display_text import clean_line


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """How something is said.

    Attributes:
        reply_to: The id of the message that this answers.
        file: A file that goes with it; - is standard input.
        id: A UUID of your own, by which the message is known for ever: a line with one that was given before sends nothing again. For scripts that try again.
    """

    reply_to: UUID | None = None
    file: FilePath | None = None
    id: UUID | None = None


PLAINLY: Final = How()


def send(to: Words, text: Words | None = None, /, *, how: How = PLAINLY, where: Where = HERE) -> None:
    """Send a message, and wait until the node has it. When it cannot be sent in time, or the key of the other side has changed, the message is kept and goes out later (exit codes 12 and 11); while it waits, the same line does not send it twice.

    Args:
        to: A user id, @username, number (+...), or the title or id of a conversation.
        text: What to say; without it, and without a file, standard input is read.
        how: In answer to what, with which file, under which id.
        where: Which device, and its node.
    """
    said = text if text is not None else "" if how.file else whole_text()
    if how.file is None:
        _check_said(said)
    else:
        check_input(how.file)

    async def say(client: Client, chat: UUID) -> UUID:
        answered = target(client, chat, how.reply_to) if how.reply_to else None
        if how.file is None:
            return await _text(client, chat, said, answered, how.id)
        with source(how.file) as read, bar(where, read.name or "file") as progress:
            return await client.files.send(chat, read, said, reply_to=answered, id=how.id, progress=progress)

    _say(to, say, where)


async def _text(client: Client, chat: UUID, said: str, answered: Target | None, id: UUID | None) -> UUID:
    """Say it; what a command that was broken off has said already goes out under its id."""
    fields = {"text": said} | ({"replyTo": answered.as_json()} if answered is not None else {})
    return await client.messages.text(
        chat, said, reply_to=answered, id=id or client.left_over.find(chat, "text", fields)
    )


def react(to: Words, message: UUID, emoji: Words | None = None, /, *, where: Where = HERE) -> None:
    """Put an emoji on a message; without one, take it back.

    Args:
        to: Where it was said: a user id, @username, number (+...), or the title or id of a conversation.
        message: Its id, as `send --json`, `receive --json` and `history` tell it.
        emoji: What to put on it.
        where: Which device, and its node.
    """
    _say(to, _about(message, lambda client, chat, of: client.messages.react(chat, of, emoji)), where)


def edit(to: Words, message: UUID, text: Words, /, *, where: Where = HERE) -> None:
    """Put other words in the place of one's own, for a day.

    Args:
        to: Where it was said: a user id, @username, number (+...), or the title or id of a conversation.
        message: Its id, as `send --json`, `receive --json` and `history` tell it.
        text: What to say instead.
        where: Which device, and its node.
    """
    _check_said(text)
    _say(to, _about(message, lambda client, chat, of: client.messages.edit(chat, of, text)), where)


def unsend(to: Words, message: UUID, /, *, where: Where = HERE) -> None:
    """Take back what one said, for a day.

    Args:
        to: Where it was said: a user id, @username, number (+...), or the title or id of a conversation.
        message: Its id, as `send --json`, `receive --json` and `history` tell it.
        where: Which device, and its node.
    """
    _say(to, _about(message, lambda client, chat, of: client.messages.unsend(chat, of)), where)


def _check_said(text: str) -> None:
    """A line of a timetable that had nothing to say sends nothing. Raises WrongLine."""
    if not clean_line(text):
        lack = "nothing in the text can be seen" if text.strip() else "the text is empty"
        raise WrongLine(f"There is nothing to send: {lack}. A text that is called like an option goes behind --.")


Say = Callable[[Client, UUID], Awaitable[UUID]]


def _about(message: UUID, change: Callable[[Client, UUID, Target], Awaitable[UUID]]) -> Say:
    async def say(client: Client, chat: UUID) -> UUID:
        return await change(client, chat, target(client, chat, message))

    return say


def _say(to: str, say: Say, where: Where) -> None:
    async def act(client: Client) -> None:
        chat = await conversation(client, to)
        content_id = await say(client, chat)
        await settled(client, where, chat, content_id)
        where.say("Sent.", {"id": str(content_id), "conversationId": str(chat)})

    where.run(act)
