"""How people and conversations are called on a command line, and how they are shown."""

from dataclasses import dataclass, field
from uuid import UUID

from vyry.cli.client.exits import Ended, Exit
from vyry.client.client import Client
from vyry.client.events import Target
from vyry.client.refusals import Refused, Unreachable


#: A message is looked for among so many of the newest.
REMEMBERED = 5_000


async def person(client: Client, word: str) -> UUID:
    """Whoever is meant: a user id, a username (with @ or without), or a telephone number. Raises Ended, Refused, Unreachable."""
    found = _id(word)
    if found is not None:
        return found
    if not word.startswith("+"):
        return UUID((await client.people.by_username(word.removeprefix("@")))["userId"])
    users = await client.people.lookup([word])
    if not users:
        raise Ended(Exit.NOT_FOUND, f"Nobody with the number {word} can be found.")
    return UUID(users[0]["userId"])


async def conversation(client: Client, word: str) -> UUID:
    """The conversation of that id, the group of that title, or the direct one with that person. Raises Ended, Refused, Unreachable."""
    found = _id(word)
    if found is not None:
        try:
            await client.conversations.get(found)
        except Refused as refused:
            if refused.status != 404:
                raise
        else:
            return found
    if not word.startswith(("+", "@")):
        titled = await _titled(client, word)
        if titled is not None:
            await _is_nobody(client, word)
            return titled
    return await client.direct(await person(client, word))


async def group(client: Client, word: str) -> UUID:
    """The group of that id or title. Raises Ended, Refused, Unreachable."""
    found = _id(word) or await _titled(client, word)
    if found is None:
        raise Ended(Exit.NOT_FOUND, f"No group is called {word}.")
    return found


async def _titled(client: Client, word: str) -> UUID | None:
    # A key that has come meanwhile opens the title.
    await client.conversations.caught_up()
    listed = await client.conversations.list()
    found = [each for each in listed if (each["title"] or "").casefold() == word.casefold()]
    if len(found) > 1:
        raise Ended(Exit.FAILED, f"{len(found)} groups are called {word}: say the id, as `vyry client chats` shows it.")
    return UUID(found[0]["conversationId"]) if found else None


async def _is_nobody(client: Client, word: str) -> None:
    """Nobody takes the place of somebody else by the title of a group. Raises Ended."""
    try:
        await client.people.by_username(word)
    except Refused:
        return
    raise Ended(Exit.FAILED, f"A group is called {word}, and somebody is: say @{word}, or the id of the group.")


def target(client: Client, conversation_id: UUID, message_id: UUID) -> Target:
    """An earlier content. Raises Ended when this device does not know it."""
    for event in client.conversations.history(conversation_id, REMEMBERED):
        if event.body.get("id") == str(message_id):
            return Target(message_id, UUID(event.body["senderId"]))
    raise Ended(Exit.NOT_FOUND, f"No message {message_id} is in this conversation.")


@dataclass(frozen=True, slots=True)
class Names:
    """What people are called, asked once."""

    client: Client
    known: dict[UUID, str] = field(default_factory=dict)

    async def of(self, user_id: UUID) -> str:
        """A username, else a displayed name, else the sealed one, else the id."""
        if user_id not in self.known:
            try:
                told = await self.client.people.profile(user_id)
            except (Refused, Unreachable):
                return str(user_id)
            name = f"@{told['username']}" if told["username"] else told["displayName"] or told["profile"]["name"]
            self.known[user_id] = name or str(user_id)
        return self.known[user_id]


def _id(word: str) -> UUID | None:
    try:
        return UUID(word)
    except ValueError:
        return None
