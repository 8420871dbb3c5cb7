"""`vyry client groups`: create and change groups and their members."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from cyclopts import App, Parameter, validators

from vyry.cli.client.app import format_examples
from vyry.cli.client.confirmation import confirm
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.execution import flush_outbox
from vyry.cli.client.names import DisplayNames, Group, resolve_account, resolve_group
from vyry.cli.client.terminal_text import quote_name, sanitize_line
from vyry.cli.command_line import Flag, FreeText
from vyry.client.api.client import Client
from vyry.client.api.linking import check_no_link_code
from vyry.client.store.pending_groups import checked_title


app: Final = App(
    name="groups",
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
    """Create a group; you become its admin. If interrupted, run the same command again; the group is created once.

    Args:
        title: The group title, encrypted for the members.
        who: The other members.
        id: Group request id (UUID) to make retries safe: a second call with the same id prints the existing group.
    """

    async def act(client: Client) -> None:
        checked_title(title)
        members = [await resolve_account(client, word) for word in who]
        made = await client.groups.create(members, title, id=id)
        await flush_outbox(client)
        words, invited = await _invited_text(client, made)
        context.print_result(
            f"Created group {quote_name(title)}: {made}.{words}",
            {"conversationId": str(made), "title": title, **invited},
        )

    context.run(act)


@app.command
def rename(group: Group, title: FreeText, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Rename a group.

    Args:
        title: The new title.
    """

    async def change(client: Client, chat: UUID) -> Body:
        checked_title(title)
        await client.groups.rename(chat, title)
        return {"title": title}

    _run_action(group, change, f"The group is now named {quote_name(title)}.", context)


@app.command
def add(group: Group, who: str, /, *more: str, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Add members to a group. They can read messages sent from now on. People who are not your friends and have never written to you get an invitation instead.

    Args:
        who: The person to add.
        more: More people to add.
    """

    async def act(client: Client) -> None:
        chat = await resolve_group(client, group)
        users = [await resolve_account(client, word) for word in (who, *more)]
        await client.groups.add(chat, users)
        await flush_outbox(client)
        words, invited = await _invited_text(client, chat)
        added = "Added." if set(users) - set(client.groups.invited.get(chat, ())) else "No member was added."
        context.print_result(
            f"{added}{words}", {"conversationId": str(chat), "userIds": list(map(str, users)), **invited}
        )

    context.run(act)


@app.command
def remove(group: Group, who: str, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Remove a member from a group. They cannot read messages or titles from now on.

    Args:
        who: The member.
    """

    async def change(client: Client, chat: UUID) -> Body:
        user_id = await resolve_account(client, who)
        await client.groups.remove(chat, user_id)
        return {"userId": str(user_id), "removed": True}

    _run_action(group, change, "Removed.", context)


@app.command
def leave(group: Group, /, *, yes: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Leave a group. The message history stays in the profile. The last admin must appoint another admin first (`groups role`).

    Args:
        yes: Skip the confirmation prompt.
    """

    async def change(client: Client, chat: UUID) -> Body:
        await confirm(f"This leaves {group}. To return you must be added or invited by a member.", yes=yes)
        await client.groups.leave(chat)
        return {"left": True}

    _run_action(group, change, "You left the group.", context)


@app.command
def role(
    group: Group, who: str, new: Literal["admin", "member"], /, *, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Change the role of a member to admin or member.

    Args:
        who: The member.
        new: The new role.
    """

    async def change(client: Client, chat: UUID) -> Body:
        user_id = await resolve_account(client, who)
        await client.groups.set_role(chat, user_id, new)
        return {"userId": str(user_id), "role": new}

    _run_action(group, change, f"{who} is now {new}.", context)


@app.command
def invite(
    group: Group, /, *, uses: Positive = None, seconds: Positive = None, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Create and print an invite token. Everyone who has the token can join the group.

    Args:
        uses: Maximum number of joins (default 100).
        seconds: Lifetime of the token in seconds (default: one week).
    """
    limits = {key: value for key, value in (("maxUses", uses), ("expiresInSeconds", seconds)) if value}

    async def act(client: Client) -> None:
        created = await client.groups.invite(await resolve_group(client, group), **limits)
        context.print_result(sanitize_line(created["token"]), created)

    context.run(act)


@app.command
def join(token: FreeText, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Join a group with an invite token. The title appears after another member's device has been online.

    Args:
        token: The token printed by `groups invite`, or the URL that ends with it.
    """

    async def act(client: Client) -> None:
        check_no_link_code(token)
        chat = await client.groups.join(token.rpartition("/")[2])
        context.print_result(f"Joined group {chat}.", {"conversationId": str(chat)})

    context.run(act)


@app.command
def invitations(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List your group invitations and who sent them."""

    async def act(client: Client) -> None:
        for each in await client.invitations.list():
            name = each["username"] and f"@{sanitize_line(each['username'])}"
            context.print_result(
                f"{sanitize_line(each['conversationId'])}  invited by {name or sanitize_line(each['userId'])}", each
            )

    context.run(act)


@app.command
def accept(invitation: UUID, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Accept a group invitation. The title appears after another member's device has been online.

    Args:
        invitation: The id that `groups invitations` prints.
    """

    async def act(client: Client) -> None:
        await client.invitations.accept(invitation)
        context.print_result(f"Joined group {invitation}.", {"conversationId": str(invitation)})

    context.run(act)


@app.command
def decline(invitation: UUID, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Decline a group invitation. No user is notified.

    Args:
        invitation: The id that `groups invitations` prints.
    """

    async def act(client: Client) -> None:
        await client.invitations.decline(invitation)
        context.print_result("Declined.", {"conversationId": str(invitation), "declined": True})

    context.run(act)


@app.command
def members(group: Group, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List the members of a group, as reported by the node. Member lists are not signed yet."""

    async def act(client: Client) -> None:
        names = DisplayNames(client)
        for each in (await client.conversations.get(await resolve_group(client, group)))["members"]:
            context.print_result(f"{sanitize_line(each['role']):6}  {await names.load(UUID(each['userId']))}", each)

    context.run(act)


async def _invited_text(client: Client, chat: UUID) -> tuple[str, Body]:
    """The users who were invited instead of added, as text and as JSON; both empty without any."""
    invited, names = client.groups.invited.get(chat, ()), DisplayNames(client)
    if not invited:
        return "", {}
    words = ", ".join([await names.load(each) for each in invited])
    return f" Invited instead, because you are not friends and they have never written to you: {words}.", {
        "invited": list(map(str, invited))
    }


def _run_action(group: str, change: GroupAction, text: str, context: CommandContext) -> None:
    async def act(client: Client) -> None:
        chat = await resolve_group(client, group)
        body = await change(client, chat)
        await flush_outbox(client)
        context.print_result(text, {"conversationId": str(chat), **body})

    context.run(act)
