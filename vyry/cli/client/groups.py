"""`vyry client groups`: who is in a group, and what it is called."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from cyclopts import App, Parameter, validators

from vyry.cli.client.confirming import Yes, confirm
from vyry.cli.client.examples import examples
from vyry.cli.client.lasting import out
from vyry.cli.client.naming import Names, group, person
from vyry.cli.client.plain import quoted, word
from vyry.cli.client.where import HERE, Where
from vyry.cli.typed import Words
from vyry.client.client import Client
from vyry.client.group_begun import checked
from vyry.client.link_codes import check_no_link_code


app: Final = App(
    name="groups",
    help="Groups. GROUP is a title or an id; WHO is a user id, a @username or a number (+...).",
    help_epilogue=examples(
        'groups create "Walks" @bo @cy',
        "groups add Walks @dan",
        "groups remove Walks @bo",
        "groups invite Walks --uses 1",
    ),
)
Positive = Annotated[int | None, Parameter(validator=validators.Number(gt=0))]
Body = Mapping[str, Any]
Deed = Callable[[Client, UUID], Awaitable[Body]]


@app.command
def create(title: Words, /, *who: str, id: UUID | None = None, where: Where = HERE) -> None:
    """Make a group, and be its admin. Broken off, the same line makes it once.

    Args:
        title: What to call it; the node cannot read it.
        who: Those in it besides you.
        id: A UUID of your own: with one that was given before, the group of that line is printed, and no other one made.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        checked(title)
        members = [await person(client, word) for word in who]
        made = await client.groups.create(members, title, id=id)
        await out(client)
        words, invited = await _invited(client, made)
        where.say(f"{quoted(title)} is made: {made}{words}", {"conversationId": str(made), "title": title, **invited})

    where.run(act)


@app.command
def rename(to: Words, title: Words, /, *, where: Where = HERE) -> None:
    """Call a group something else.

    Args:
        to: A title or conversation id.
        title: What to call it.
        where: Which device, and its node.
    """

    async def deed(client: Client, chat: UUID) -> Body:
        checked(title)
        await client.groups.rename(chat, title)
        return {"title": title}

    _do(to, deed, f"It is called {quoted(title)} now.", where)


@app.command
def add(to: Words, first: str, /, *more: str, where: Where = HERE) -> None:
    """Take people in. They read what is said from now on. A person who does not know you is invited, and comes in by accepting.

    Args:
        to: A title or conversation id.
        first: Whom.
        more: Whom else.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        chat = await group(client, to)
        users = [await person(client, word) for word in (first, *more)]
        await client.groups.add(chat, users)
        await out(client)
        words, invited = await _invited(client, chat)
        added = "Added." if set(users) - set(client.groups.invited.get(chat, ())) else "Nobody is added."
        where.say(f"{added}{words}", {"conversationId": str(chat), "userIds": list(map(str, users)), **invited})

    where.run(act)


@app.command
def remove(to: Words, who: str, /, *, where: Where = HERE) -> None:
    """Make somebody go. What is said from now on, and another title, is closed to them.

    Args:
        to: A title or conversation id.
        who: Whom.
        where: Which device, and its node.
    """

    async def deed(client: Client, chat: UUID) -> Body:
        user_id = await person(client, who)
        await client.groups.remove(chat, user_id)
        return {"userId": str(user_id), "removed": True}

    _do(to, deed, "Removed.", where)


@app.command
def leave(to: Words, /, *, yes: Yes = False, where: Where = HERE) -> None:
    """Go. What was said stays in the profile; the last admin hands over first (`groups role`).

    Args:
        to: A title or conversation id.
        yes: Do it without asking.
        where: Which device, and its node.
    """

    async def deed(client: Client, chat: UUID) -> Body:
        await confirm(f"You leave {to}, and come back only when a member takes you in.", yes=yes)
        await client.groups.leave(chat)
        return {"left": True}

    _do(to, deed, "You are in it no more.", where)


@app.command
def role(to: Words, who: str, new: Literal["admin", "member"], /, *, where: Where = HERE) -> None:
    """Make somebody an admin, or one of the others.

    Args:
        to: A title or conversation id.
        who: Whom.
        new: What they are from now on.
        where: Which device, and its node.
    """

    async def deed(client: Client, chat: UUID) -> Body:
        user_id = await person(client, who)
        await client.groups.set_role(chat, user_id, new)
        return {"userId": str(user_id), "role": new}

    _do(to, deed, f"{who} is {new} now.", where)


@app.command
def invite(to: Words, /, *, uses: Positive = None, seconds: Positive = None, where: Where = HERE) -> None:
    """Print a token that lets in whoever has it.

    Args:
        to: A title or conversation id.
        uses: So many come in by it at most (100).
        seconds: So long it holds (a week).
        where: Which device, and its node.
    """
    limits = {key: value for key, value in (("maxUses", uses), ("expiresInSeconds", seconds)) if value}

    async def act(client: Client) -> None:
        told = await client.groups.invite(await group(client, to), **limits)
        where.say(word(told["token"]), told)

    where.run(act)


@app.command
def join(token: Words, /, *, where: Where = HERE) -> None:
    """Come in by an invite. The title shows once a device that knows it was there.

    Args:
        token: As `groups invite` prints it, or the address that ends with it.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        check_no_link_code(token)
        chat = await client.groups.join(token.rpartition("/")[2])
        where.say(f"You are in: {chat}", {"conversationId": str(chat)})

    where.run(act)


@app.command
def invitations(*, where: Where = HERE) -> None:
    """List the groups into which you are invited by people whom you do not know, and who invites.

    Args:
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        for each in await client.invitations.list():
            name = each["username"] and f"@{word(each['username'])}"
            where.say(f"{word(each['conversationId'])}  invited by {name or word(each['userId'])}", each)

    where.run(act)


@app.command
def accept(invitation: UUID, /, *, where: Where = HERE) -> None:
    """Come into a group into which you are invited. The title shows once a device that knows it was there.

    Args:
        invitation: The id that `groups invitations` prints.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        await client.invitations.accept(invitation)
        where.say(f"You are in: {invitation}", {"conversationId": str(invitation)})

    where.run(act)


@app.command
def decline(invitation: UUID, /, *, where: Where = HERE) -> None:
    """Decline an invitation; nobody is told.

    Args:
        invitation: The id that `groups invitations` prints.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        await client.invitations.decline(invitation)
        where.say("Declined.", {"conversationId": str(invitation), "declined": True})

    where.run(act)


@app.command
def members(to: Words, /, *, where: Where = HERE) -> None:
    """List who is in it, as the node says: until members are signed for, the node vouches for who is in a group.

    Args:
        to: A title or conversation id.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        names = Names(client)
        for each in (await client.conversations.get(await group(client, to)))["members"]:
            where.say(f"{word(each['role']):6}  {await names.of(UUID(each['userId']))}", each)

    where.run(act)


async def _invited(client: Client, chat: UUID) -> tuple[str, Body]:
    """Who was invited instead of added, for the end of a line and for JSON; nothing where there is nobody."""
    invited, names = client.groups.invited.get(chat, ()), Names(client)
    if not invited:
        return "", {}
    words = ", ".join([await names.of(each) for each in invited])
    return f" Invited, as they do not know you: {words}.", {"invited": list(map(str, invited))}


def _do(to: str, deed: Deed, text: str, where: Where) -> None:
    async def act(client: Client) -> None:
        chat = await group(client, to)
        told = await deed(client, chat)
        await out(client)
        where.say(text, {"conversationId": str(chat), **told})

    where.run(act)
