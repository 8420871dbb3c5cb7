"""Commands that tell what was said, and where."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter, validators

from vyry.cli.client.deciding import body_of, named, short
from vyry.cli.client.lasting import out
from vyry.cli.client.naming import REMEMBERED, Names, conversation
from vyry.cli.client.plain import quoted, word
from vyry.cli.client.telling import line
from vyry.cli.client.where import HERE, Where
from vyry.cli.typed import Words
from vyry.client.client import Client
from vyry.client.events import Message, Presence, Typing


Flag = Annotated[bool, Parameter(negative=())]


def receive(*, follow: Flag = False, live: Flag = False, where: Where = HERE) -> None:
    """Print what came since the last time.

    Args:
        follow: Go on until interrupted. Other commands of the profile have their turn in between.
        live: While following, print who types and which friends come and go, too.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        names = Names(client)
        if live:
            await client.presence.watch([UUID(each["userId"]) for each in await client.friends.list()])
        async for event in client.events(follow=follow):
            if isinstance(event, Typing | Presence) and not live:
                continue
            text = "" if where.json else await line(event, names)
            where.say(text, {"event": event.name, **event.body})

    where.run(act, is_following=follow)


def history(
    to: Words,
    /,
    *,
    limit: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 50,
    where: Where = HERE,
) -> None:
    """Print what was said in a conversation, one's own words included; nothing is marked as received.

    Args:
        to: A user id, @username, number (+...), or the title or id of a conversation.
        limit: So many of the newest.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        names = Names(client)
        chat = await conversation(client, to)
        for event in client.conversations.history(chat, limit):
            text = "" if where.json else f"{event.body.get('id', '-'):36}  {await line(event, names)}"
            where.say(text, {"event": event.name, **event.body})

    where.run(act)


def read(to: Words, /, *, where: Where = HERE) -> None:
    """Tell the others in a conversation that you have read what they said, unless your account tells nobody.

    Args:
        to: A user id, @username, number (+...) or conversation id.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        chat = await conversation(client, to)
        said = client.conversations.history(chat, REMEMBERED)
        targets = [event.target for event in said if isinstance(event, Message) and not event.is_own]
        await client.messages.read(chat, targets)
        await out(client)
        where.say("Read.", {"conversationId": str(chat), "messages": len(targets)})

    where.run(act)


def chats(*, where: Where = HERE) -> None:
    """List one's conversations, newest made first, each with what a person has to decide about it, and how much waits for that.

    Args:
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        names = Names(client)
        await client.conversations.caught_up()
        listed = await client.conversations.list()
        decisions = client.conversations.decisions.all(UUID(told["conversationId"]) for told in listed)
        for told in listed:
            here = [each for each in decisions if str(each.conversation_id) == told["conversationId"]]
            mark = f"  decide: {short(here, await named(names, here))}" if here else ""
            where.say(f"{await _title(told, client, names)}{mark}", {**told, **body_of(here)})

    where.run(act)


async def _title(told: Mapping[str, Any], client: Client, names: Names) -> str:
    title = f"{quoted(told['title'])}: " if told["title"] else ""
    peer = client.conversations.peer(UUID(told["conversationId"]))
    members = [UUID(each["userId"]) for each in told["members"]] if peer is None else [peer]
    others = [each for each in members if each != client.user_id]
    named = [await names.of(each) for each in others[:5]]
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return f"{word(told['conversationId'])}  {word(told['kind']):6}  {title}{', '.join(named)}{more}"
