"""Commands that send messages, reactions, edits and deletions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cyclopts import Parameter

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.decision_texts import wait_until_sent
from vyry.cli.client.files import open_source, progress_display, require_stdin_content
from vyry.cli.client.names import MessageConversation, Recipient, find_target, resolve_conversation
from vyry.cli.command_line import FilePath, FreeText
from vyry.cli.errors import UsageError
from vyry.cli.stdio import read_stdin_text
from vyry.client.api.client import Client
from vyry.client.store.events import Target
from vyry.kernel.display_text import clean_line


@Parameter(name="*")
@dataclass(frozen=True)
class SendOptions:
    """Options of a message.

    Attributes:
        reply_to: The id of the message to reply to.
        file: A file to attach; - reads standard input.
        id: Message id (UUID) to make retries safe: a second send with the same id does not send the message again.
    """

    reply_to: UUID | None = None
    file: FilePath | None = None
    id: UUID | None = None


DEFAULT_SEND_OPTIONS: Final = SendOptions()


def send(
    conversation: Recipient,
    text: FreeText | None = None,
    /,
    *,
    how: SendOptions = DEFAULT_SEND_OPTIONS,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Send a message and wait until the node has accepted it.

    If the node cannot be reached (exit code 12) or the recipient's key has changed (exit code 11), the message is stored and sent later.
    Running the same command meanwhile does not send it twice.

    Args:
        text: The message; without text and file, standard input is read.
        how: Reply target, file and id.
    """
    body_text = text if text is not None else "" if how.file else read_stdin_text()
    if how.file is None:
        _require_visible_text(body_text)
    else:
        require_stdin_content(how.file)

    async def send_content(client: Client, chat: UUID) -> UUID:
        answered = find_target(client, chat, how.reply_to) if how.reply_to else None
        if how.file is None:
            return await _send_text(client, chat, body_text, answered, how.id)
        with open_source(how.file) as read, progress_display(context, read.name or "file") as progress:
            return await client.files.send(chat, read, body_text, reply_to=answered, id=how.id, progress=progress)

    _run_send(conversation, send_content, context)


async def _send_text(client: Client, chat: UUID, body_text: str, answered: Target | None, id: UUID | None) -> UUID:
    """Send a text. One that an interrupted command left in the outbox is sent under its first id."""
    fields = {"text": body_text} | ({"replyTo": answered.as_json()} if answered is not None else {})
    return await client.messages.text(
        chat, body_text, reply_to=answered, id=id or client.unsent_messages.find(chat, "text", fields)
    )


def react(
    conversation: MessageConversation,
    message: UUID,
    emoji: FreeText | None = None,
    /,
    *,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """React to a message with an emoji, or remove your reaction.

    Args:
        message: The message id, as printed by `send --json`, `receive --json` and `history`.
        emoji: The emoji; without it your reaction is removed.
    """
    _run_send(
        conversation, _on_message(message, lambda client, chat, of: client.messages.react(chat, of, emoji)), context
    )


def edit(
    conversation: MessageConversation, message: UUID, text: FreeText, /, *, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Edit a message you sent (within 24 hours).

    Args:
        message: The message id, as printed by `send --json`, `receive --json` and `history`.
        text: The new text.
    """
    _require_visible_text(text)
    _run_send(
        conversation, _on_message(message, lambda client, chat, of: client.messages.edit(chat, of, text)), context
    )


def unsend(conversation: MessageConversation, message: UUID, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Unsend a message you sent (within 24 hours).

    Args:
        message: The message id, as printed by `send --json`, `receive --json` and `history`.
    """
    _run_send(conversation, _on_message(message, lambda client, chat, of: client.messages.unsend(chat, of)), context)


def _require_visible_text(text: str) -> None:
    """Raises UsageError for an empty or invisible text, such as the output of a cron job without a result."""
    if not clean_line(text):
        lack = "the text has no visible characters" if text.strip() else "the text is empty"
        raise UsageError(f"Nothing to send: {lack}. Put a text that looks like an option after --.")


SendAction = Callable[[Client, UUID], Awaitable[UUID]]


def _on_message(message: UUID, change: Callable[[Client, UUID, Target], Awaitable[UUID]]) -> SendAction:
    async def send_change(client: Client, chat: UUID) -> UUID:
        return await change(client, chat, find_target(client, chat, message))

    return send_change


def _run_send(conversation: str, send: SendAction, context: CommandContext) -> None:
    async def act(client: Client) -> None:
        chat = await resolve_conversation(client, conversation)
        content_id = await send(client, chat)
        await wait_until_sent(client, context, chat, content_id)
        context.print_result("Sent.", {"id": str(content_id), "conversationId": str(chat)})

    context.run(act)
