"""`vyry client friends`: friends, friend requests and blocks."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from cyclopts import App

from vyry.cli.client.app import format_examples
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.names import Account, DisplayNames, profile_name, resolve_account
from vyry.cli.client.terminal_text import quote_name, sanitize_line
from vyry.client.api.client import Client
from vyry.client.crypto.group_keys import read_text_field


FriendAction = Callable[[Client, UUID], Awaitable[Any]]

app = App(
    name="friends",
    help_epilogue=format_examples(
        "friends add @bo", "friends requests", "friends accept @ann", "friends list", "friends block @eve"
    ),
)


@app.command(name="list")
def list_all(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List your friends."""

    async def act(client: Client) -> None:
        for each in await client.friends.list():
            context.print_result(_friend_line(client, each), each)

    context.run(act)


@app.command
def requests(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List open friend requests, received and sent."""

    async def act(client: Client) -> None:
        for each in await client.friends.requests("incoming"):
            context.print_result(f"{_friend_line(client, each)} (received)", {"direction": "incoming", **each})
        for each in await client.friends.requests("outgoing"):
            context.print_result(f"{_friend_line(client, each)} (sent)", {"direction": "outgoing", **each})

    context.run(act)


@app.command
def add(who: Account, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Send a friend request, or accept the one they sent you."""

    async def act(client: Client) -> None:
        user_id = await resolve_account(client, who)
        status = await client.friends.request(user_id)
        text = "You are friends." if status == "friends" else "Friend request sent."
        context.print_result(text, {"userId": str(user_id), "status": status})

    context.run(act)


@app.command
def accept(who: Account, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Accept a friend request."""
    _run_action(who, lambda client, user_id: client.friends.accept(user_id), "friends", context)


@app.command
def decline(who: Account, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Decline a friend request. The sender is not notified."""
    _run_action(who, lambda client, user_id: client.friends.decline(user_id), "declined", context)


@app.command
def remove(who: Account, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Remove a friend."""
    _run_action(who, lambda client, user_id: client.friends.remove(user_id), "removed", context)


@app.command
def block(who: Account, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Block a user: you receive nothing from them. Friendship and friend requests between you end."""
    _run_action(who, lambda client, user_id: client.people.block(user_id), "blocked", context)


@app.command
def unblock(user_id: UUID, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Unblock a user.

    Args:
        user_id: The user id from `friends blocks`; blocked users cannot be found by name.
    """
    _run_action(str(user_id), lambda client, found: client.people.unblock(found), "unblocked", context)


@app.command
def blocks(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List blocked users."""

    async def act(client: Client) -> None:
        names = DisplayNames(client)
        for each in await client.people.blocks():
            context.print_result(
                f"{await names.load(UUID(each['userId']))}  since {sanitize_line(each['blockedAt'])}", each
            )

    context.run(act)


def _run_action(who: str, action: FriendAction, status: str, context: CommandContext) -> None:
    async def act(client: Client) -> None:
        user_id = await resolve_account(client, who)
        await action(client, user_id)
        context.print_result(f"{status.capitalize()}.", {"userId": str(user_id), "status": status})

    context.run(act)


def _friend_line(client: Client, friend: dict[str, Any]) -> str:
    name = profile_name(client, friend)
    chosen = read_text_field(friend, "displayName", 100) if friend["username"] else None
    parts = (
        sanitize_line(friend["userId"]),
        "" if name == friend["userId"] else name,
        quote_name(chosen) if chosen else "",
    )
    return "  ".join(part for part in parts if part)
