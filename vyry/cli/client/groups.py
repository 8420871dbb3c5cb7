"""`vyry client groups`: who is in a group, and what it is called."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from cyclopts import App, Parameter, validators

from vyry.cli.client.app import format_examples
from vyry.cli.client.confirmation import confirm
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.execution import flush_outbox
from vyry.cli.client.names import DisplayNames, resolve_account, resolve_group
from vyry.cli.client.terminal_text import quote_name, sanitize_line
from vyry.cli.command_line import Flag, FreeText
from vyry.client.api.client import Client
from vyry.client.api.linking import check_no_link_code
from vyry.client.store.pending_groups import checked_title


app: Final = App(
    name="groups",
    help="Groups. GROUP is a title or an id; WHO is a user id, a @username or a number (+...).",
    help_epilogue=format_examples(
        'groups create "Walks" @bo @cy',
        "groups add Walks @dan",
        "groups remove Walks @bo",
        "groups invite Walks --uses 1",
    ),
)
Positive = Annotated[int | None, Parameter(validator=validators.Number(gt=0))]
Body = Mapping[str, Any]
GroupAction = Callable[[Client, UUID], Awaitable[Body]]


@app.command
def create(title: FreeText, /, *who: str, id: UUID | None = None, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Make a group, and be its admin. Broken off, the same line makes it once.

    Args:
        title: What to call it; the node cannot read it.
        who: Those in it besides you.
        id: A UUID of your own: with one that was given before, the group of that line is printed, and no other one made.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        checked_title(title)
        members = [await resolve_account(client, word) for word in who]
        made = await client.groups.create(members, title, id=id)
        await flush_outbox(client)
        words, invited = await _invited_text(client, made)
        context.print_result(
            f"{quote_name(title)} is made: {made}{words}", {"conversationId": str(made), "title": title, **invited}
        )

    context.run(act)


@app.command
def rename(group: FreeText, title: FreeText, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Call a group something else.

    Args:
        group: A title or conversation id.
        title: What to call it.
        context: Which device, and its node.
    """

    async def deed(client: Client, chat: UUID) -> Body:
        checked_title(title)
        await client.groups.rename(chat, title)
        return {"title": title}

    _run_action(group, deed, f"It is called {quote_name(title)} now.", context)


@app.command
def add(group: FreeText, who: str, /, *more: str, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Take people in. They read what is said from now on. A person who does not know you is invited, and comes in by accepting.

    Args:
        group: A title or conversation id.
        who: Whom.
        more: Whom else.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        chat = await resolve_group(client, group)
        users = [await resolve_account(client, word) for word in (who, *more)]
        await client.groups.add(chat, users)
        await flush_outbox(client)
        words, invited = await _invited_text(client, chat)
        added = "Added." if set(users) - set(client.groups.invited.get(chat, ())) else "Nobody is added."
        context.print_result(
            f"{added}{words}", {"conversationId": str(chat), "userIds": list(map(str, users)), **invited}
        )

    context.run(act)


@app.command
def remove(group: FreeText, who: str, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Make somebody go. What is said from now on, and another title, is closed to them.

    Args:
        group: A title or conversation id.
        who: Whom.
        context: Which device, and its node.
    """

    async def deed(client: Client, chat: UUID) -> Body:
        user_id = await resolve_account(client, who)
        await client.groups.remove(chat, user_id)
        return {"userId": str(user_id), "removed": True}

    _run_action(group, deed, "Removed.", context)


@app.command
def leave(group: FreeText, /, *, yes: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Go. What was said stays in the profile; the last admin hands over first (`groups role`).

    Args:
        group: A title or conversation id.
        yes: Do it without asking.
        context: Which device, and its node.
    """

    async def deed(client: Client, chat: UUID) -> Body:
        await confirm(f"You leave {group}, and come back only when a member takes you in.", yes=yes)
        await client.groups.leave(chat)
        return {"left": True}

    _run_action(group, deed, "You are in it no more.", context)


@app.command
def role(
    group: FreeText, who: str, new: Literal["admin", "member"], /, *, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Make somebody an admin, or one of the others.

    Args:
        group: A title or conversation id.
        who: Whom.
        new: What they are from now on.
        context: Which device, and its node.
    """

    async def deed(client: Client, chat: UUID) -> Body:
        user_id = await resolve_account(client, who)
        await client.groups.set_role(chat, user_id, new)
        return {"userId": str(user_id), "role": new}

    _run_action(group, deed, f"{who} is {new} now.", context)


@app.command
def invite(
    group: FreeText, /, *, uses: Positive = None, seconds: Positive = None, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Print a token that lets in whoever has it.

    Args:
        group: A title or conversation id.
        uses: So many come in by it at most (100).
        seconds: So long it holds (a week).
        context: Which device, and its node.
    """
    limits = {key: value for key, value in (("maxUses", uses), ("expiresInSeconds", seconds)) if value}

    async def act(client: Client) -> None:
        told = await client.groups.invite(await resolve_group(client, group), **limits)
        context.print_result(sanitize_line(told["token"]), told)

    context.run(act)


@app.command
def join(token: FreeText, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Come in by an invite. The title shows once a device that knows it was there.

    Args:
        token: As `groups invite` prints it, or the address that ends with it.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        check_no_link_code(token)
        chat = await client.groups.join(token.rpartition("/")[2])
        context.print_result(f"You are in: {chat}", {"conversationId": str(chat)})

    context.run(act)


@app.command
def invitations(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List the groups into which you are invited by people whom you do not know, and who invites.

    Args:
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        for each in await client.invitations.list():
            name = each["username"] and f"@{sanitize_line(each['username'])}"
            context.print_result(
                f"{sanitize_line(each['conversationId'])}  invited by {name or sanitize_line(each['userId'])}", each
            )

    context.run(act)


@app.command
def accept(invitation: UUID, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Come into a group into which you are invited. The title shows once a device that knows it was there.

    Args:
        invitation: The id that `groups invitations` prints.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        await client.invitations.accept(invitation)
        context.print_result(f"You are in: {invitation}", {"conversationId": str(invitation)})

    context.run(act)


@app.command
def decline(invitation: UUID, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Decline an invitation; nobody is told.

    Args:
        invitation: The id that `groups invitations` prints.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        await client.invitations.decline(invitation)
        context.print_result("Declined.", {"conversationId": str(invitation), "declined": True})

    context.run(act)


@app.command
def members(group: FreeText, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List who is in it, as the node says: until members are signed for, the node vouches for who is in a group.

    Args:
        group: A title or conversation id.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        names = DisplayNames(client)
        for each in (await client.conversations.get(await resolve_group(client, group)))["members"]:
            context.print_result(f"{sanitize_line(each['role']):6}  {await names.load(UUID(each['userId']))}", each)

    context.run(act)


async def _invited_text(client: Client, chat: UUID) -> tuple[str, Body]:
    """Who was invited instead of added, for the end of a line and for JSON; nothing where there is nobody."""
    invited, names = client.groups.invited.get(chat, ()), DisplayNames(client)
    if not invited:
        return "", {}
    words = ", ".join([await names.load(each) for each in invited])
    return f" Invited, as they do not know you: {words}.", {"invited": list(map(str, invited))}


def _run_action(group: str, deed: GroupAction, text: str, context: CommandContext) -> None:
    async def act(client: Client) -> None:
        chat = await resolve_group(client, group)
        told = await deed(client, chat)
        await flush_outbox(client)
        context.print_result(text, {"conversationId": str(chat), **told})

    context.run(act)
