"""`vyry client friends`: who agreed to be one, who asks, and who is kept away."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from cyclopts import App

from vyry.cli.client.examples import examples
from vyry.cli.client.naming import Names, person, shown
from vyry.cli.client.plain import quoted, word
from vyry.cli.client.where import HERE, Where
from vyry.client.client import Client
from vyry.client.group_keys import line_in


Deed = Callable[[Client, UUID], Awaitable[Any]]

app = App(
    name="friends",
    help="Friends, requests and blocks. WHO is a user id, a @username or a number (+...).",
    help_epilogue=examples(
        "friends add @bo", "friends requests", "friends accept @ann", "friends list", "friends block @eve"
    ),
)


@app.command(name="list")
def list_all(*, where: Where = HERE) -> None:
    """List your friends.

    Args:
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        for each in await client.friends.list():
            where.say(_line(client, each), each)

    where.run(act)


@app.command
def requests(*, where: Where = HERE) -> None:
    """List the requests that wait, those of others and your own.

    Args:
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        for each in await client.friends.requests("incoming"):
            where.say(f"{_line(client, each)} asks", {"direction": "incoming", **each})
        for each in await client.friends.requests("outgoing"):
            where.say(f"{_line(client, each)} is asked", {"direction": "outgoing", **each})

    where.run(act)


@app.command
def add(who: str, /, *, where: Where = HERE) -> None:
    """Ask somebody to be a friend, or say yes if they have asked.

    Args:
        who: A user id, @username or number (+...).
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        user_id = await person(client, who)
        status = await client.friends.request(user_id)
        text = "You are friends." if status == "friends" else "Asked."
        where.say(text, {"userId": str(user_id), "status": status})

    where.run(act)


@app.command
def accept(who: str, /, *, where: Where = HERE) -> None:
    """Say yes to a request.

    Args:
        who: A user id, @username or number (+...).
        where: Which device, and its node.
    """
    _do(who, lambda client, user_id: client.friends.accept(user_id), "friends", where)


@app.command
def decline(who: str, /, *, where: Where = HERE) -> None:
    """Say no to a request; nobody is told.

    Args:
        who: A user id, @username or number (+...).
        where: Which device, and its node.
    """
    _do(who, lambda client, user_id: client.friends.decline(user_id), "declined", where)


@app.command
def remove(who: str, /, *, where: Where = HERE) -> None:
    """Be no friends any more.

    Args:
        who: A user id, @username or number (+...).
        where: Which device, and its node.
    """
    _do(who, lambda client, user_id: client.friends.remove(user_id), "removed", where)


@app.command
def block(who: str, /, *, where: Where = HERE) -> None:
    """Be nobody to them: nothing of theirs comes, and friendship and requests end.

    Args:
        who: A user id, @username or number (+...).
        where: Which device, and its node.
    """
    _do(who, lambda client, user_id: client.people.block(user_id), "blocked", where)


@app.command
def unblock(user_id: UUID, /, *, where: Where = HERE) -> None:
    """Take a block back.

    Args:
        user_id: As `blocks` lists it: blocked people are found by no name.
        where: Which device, and its node.
    """
    _do(str(user_id), lambda client, found: client.people.unblock(found), "unblocked", where)


@app.command
def blocks(*, where: Where = HERE) -> None:
    """List whom you have blocked.

    Args:
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        names = Names(client)
        for each in await client.people.blocks():
            where.say(f"{await names.of(UUID(each['userId']))}  since {word(each['blockedAt'])}", each)

    where.run(act)


def _do(who: str, deed: Deed, status: str, where: Where) -> None:
    async def act(client: Client) -> None:
        user_id = await person(client, who)
        await deed(client, user_id)
        where.say(f"{status.capitalize()}.", {"userId": str(user_id), "status": status})

    where.run(act)


def _line(client: Client, told: dict[str, Any]) -> str:
    name = shown(client, told)
    chosen = line_in(told, "displayName", 100) if told["username"] else None
    parts = (word(told["userId"]), "" if name == told["userId"] else name, quoted(chosen) if chosen else "")
    return "  ".join(part for part in parts if part)
