"""Commands that print messages and conversations."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter, validators

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.decision_texts import account_names, decision_fields, summarize_decisions
from vyry.cli.client.event_texts import event_line
from vyry.cli.client.execution import flush_outbox
from vyry.cli.client.names import HISTORY_SEARCH_LIMIT, Conversation, DisplayNames, resolve_conversation
from vyry.cli.client.terminal_text import quote_name, sanitize_line
from vyry.cli.command_line import Flag
from vyry.client.api.client import Client
from vyry.client.store.archived_conversations import ArchivedConversation
from vyry.client.store.events import Message, Presence, Typing


def receive(*, follow: Flag = False, live: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Receive and print new messages and events.

    Args:
        follow: Keep running until interrupted. Other commands can use the profile meanwhile.
        live: With --follow: also print typing indicators and the presence of friends.
    """

    async def act(client: Client) -> None:
        names = DisplayNames(client)
        if live:
            await client.presence.watch([UUID(each["userId"]) for each in await client.friends.list()])
        async for event in client.events(follow=follow):
            if isinstance(event, Typing | Presence) and not live:
                continue
            text = "" if context.json else await event_line(event, names)
            context.print_result(text, {"event": event.name, **event.body})

    context.run(act, is_following=follow)


def history(
    conversation: Conversation,
    /,
    *,
    limit: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 50,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Print the messages of a conversation, including your own.

    This does not change what `receive` prints next.

    Args:
        limit: Print at most this many of the newest messages.
    """

    async def act(client: Client) -> None:
        names = DisplayNames(client)
        chat = await resolve_conversation(client, conversation)
        for event in client.conversations.history(chat, limit):
            text = "" if context.json else f"{event.body.get('id', '-'):36}  {await event_line(event, names)}"
            context.print_result(text, {"event": event.name, **event.body})

    context.run(act)


def read(conversation: Conversation, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Mark the messages of a conversation as read.

    Read receipts are sent unless they are disabled for your account.
    """

    async def act(client: Client) -> None:
        chat = await resolve_conversation(client, conversation)
        recent = client.conversations.history(chat, HISTORY_SEARCH_LIMIT)
        targets = [event.target for event in recent if isinstance(event, Message) and not event.is_own]
        await client.messages.read(chat, targets)
        await flush_outbox(client)
        context.print_result("Marked as read.", {"conversationId": str(chat), "messages": len(targets)})

    context.run(act)


def chats(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List your conversations and the decisions that they need.

    Newest first, with the number of messages that wait for a decision.
    """

    async def act(client: Client) -> None:
        names = DisplayNames(client)
        await client.conversations.wait_until_drained()
        listed = await client.conversations.list()
        decisions = client.conversations.decisions.all(UUID(each["conversationId"]) for each in listed)
        for conversation in listed:
            here = [each for each in decisions if str(each.conversation_id) == conversation["conversationId"]]
            mark = f"  decision needed: {summarize_decisions(here, await account_names(names, here))}" if here else ""
            context.print_result(
                f"{await _conversation_line(conversation, client, names)}{mark}",
                {**conversation, **decision_fields(here)},
            )
        ids = {each["conversationId"] for each in listed}
        for archived in client.conversations.archived():
            if str(archived.conversation_id) not in ids:
                context.print_result(await _archived_line(archived, names), _archived_fields(archived))

    context.run(act)


async def _archived_line(archived: ArchivedConversation, names: DisplayNames) -> str:
    title = f"{quote_name(archived.title)}: " if archived.title else ""
    people = archived.members if archived.peer is None else (archived.peer,)
    named = ", ".join([await names.load(each) for each in people[:5]])
    return f"{archived.conversation_id}  {archived.kind:6}  {title}{named}  (restored, to read only)"


def _archived_fields(archived: ArchivedConversation) -> Mapping[str, Any]:
    people = {"members": [{"userId": str(each)} for each in archived.members]}
    return {
        "conversationId": str(archived.conversation_id),
        "kind": archived.kind,
        "title": archived.title,
        **people,
        "isArchived": True,
    }


async def _conversation_line(conversation: Mapping[str, Any], client: Client, names: DisplayNames) -> str:
    title = f"{quote_name(conversation['title'])}: " if conversation["title"] else ""
    peer = client.conversations.peer(UUID(conversation["conversationId"]))
    members = [UUID(each["userId"]) for each in conversation["members"]] if peer is None else [peer]
    others = [each for each in members if each != client.user_id]
    named = [await names.load(each) for each in others[:5]]
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return f"{sanitize_line(conversation['conversationId'])}  {sanitize_line(conversation['kind']):6}  {title}{', '.join(named)}{more}"
