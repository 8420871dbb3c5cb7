"""`vyry client friends`: who agreed to be one, who asks, and who is kept away."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from cyclopts import App

from vyry.cli.client.app import format_examples
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.names import DisplayNames, profile_name, resolve_account
from vyry.cli.client.terminal_text import quote_name, sanitize_line
from vyry.client.api.client import Client
from vyry.client.crypto.group_keys import read_line


FriendAction = Callable[[Client, UUID], Awaitable[Any]]

app = App(
    name="friends",
    help="Friends, requests and blocks. WHO is a user id, a @username or a number (+...).",
    help_epilogue=format_examples(
        "friends add @bo", "friends requests", "friends accept @ann", "friends list", "friends block @eve"
    ),
)


@app.command(name="list")
def list_all(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List your friends.

    Args:
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        for each in await client.friends.list():
            context.print_result(_friend_line(client, each), each)

    context.run(act)


@app.command
def requests(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List the requests that wait, those of others and your own.

    Args:
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        for each in await client.friends.requests("incoming"):
            context.print_result(f"{_friend_line(client, each)} asks", {"direction": "incoming", **each})
        for each in await client.friends.requests("outgoing"):
            context.print_result(f"{_friend_line(client, each)} is asked", {"direction": "outgoing", **each})

    context.run(act)


@app.command
def add(who: str, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Ask somebody to be a friend, or say yes if they have asked.

    Args:
        who: A user id, @username or number (+...).
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        user_id = await resolve_account(client, who)
        status = await client.friends.request(user_id)
        text = "You are friends." if status == "friends" else "Asked."
        context.print_result(text, {"userId": str(user_id), "status": status})

    context.run(act)


@app.command
def accept(who: str, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Say yes to a request.

    Args:
        who: A user id, @username or number (+...).
        context: Which device, and its node.
    """
    _run_action(who, lambda client, user_id: client.friends.accept(user_id), "friends", context)


@app.command
def decline(who: str, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Say no to a request; nobody is told.

    Args:
        who: A user id, @username or number (+...).
        context: Which device, and its node.
    """
    _run_action(who, lambda client, user_id: client.friends.decline(user_id), "declined", context)


@app.command
def remove(who: str, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Be no friends any more.

    Args:
        who: A user id, @username or number (+...).
        context: Which device, and its node.
    """
    _run_action(who, lambda client, user_id: client.friends.remove(user_id), "removed", context)


@app.command
def block(who: str, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Be nobody to them: nothing of theirs comes, and friendship and requests end.

    Args:
        who: A user id, @username or number (+...).
        context: Which device, and its node.
    """
    _run_action(who, lambda client, user_id: client.people.block(user_id), "blocked", context)


@app.command
def unblock(user_id: UUID, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Take a block back.

    Args:
        user_id: As `blocks` lists it: blocked people are found by no name.
        context: Which device, and its node.
    """
    _run_action(str(user_id), lambda client, found: client.people.unblock(found), "unblocked", context)


@app.command
def blocks(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List whom you have blocked.

    Args:
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        names = DisplayNames(client)
        for each in await client.people.blocks():
            context.print_result(
                f"{await names.load(UUID(each['userId']))}  since {sanitize_line(each['blockedAt'])}", each
            )

    context.run(act)


def _run_action(who: str, deed: FriendAction, status: str, context: CommandContext) -> None:
    async def act(client: Client) -> None:
        user_id = await resolve_account(client, who)
        await deed(client, user_id)
        context.print_result(f"{status.capitalize()}.", {"userId": str(user_id), "status": status})

    context.run(act)


def _friend_line(client: Client, told: dict[str, Any]) -> str:
    name = profile_name(client, told)
    chosen = read_line(told, "displayName", 100) if told["username"] else None
    parts = (
        sanitize_line(told["userId"]),
        "" if name == told["userId"] else name,
        quote_name(chosen) if chosen else "",
    )
    return "  ".join(part for part in parts if part)
