"""How people and conversations are called on a command line, and how they are shown."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.plain import quoted
from vyry.client.client import Client
from vyry.client.events import Target
from vyry.client.group_keys import line_in
from vyry.client.refusals import BadNumber, Refused, Unreachable
from vyry.display_text import compared
from vyry.phone_numbers import looks_like_a_number


#: A message is looked for among so many of the newest.
REMEMBERED = 5_000
#: As nodes take it (docs/protocol.md): whatever else a node says is no username.
_USERNAME: Final = re.compile(r"[a-z0-9_.]{3,30}")
#: So much of a name that somebody chose is shown.
_CHOSEN: Final = 24
#: How the names of people begin here, whatever cannot be seen before it.
_LIKE_A_PERSON: Final = re.compile(r"\W*[@+\"]")


async def person(client: Client, word: str, *, refresh: bool = False) -> UUID:
    """Whoever is meant: a user id, or a username (with @ or without) or telephone number, which mean the account remembered for them. Raises BadNumber, NameChanged, NobodyFound, Refused, Unreachable."""
    return _id(word) or await client.people.resolve(word, refresh=refresh)


def is_user_id(word: str) -> bool:
    """Whether the word names an account by itself."""
    return _id(word) is not None


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
    if not (word.startswith("@") or _is_number(word)):
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
    found = [each for each in listed if each["title"] and compared(each["title"]) == compared(word)]
    if len(found) > 1:
        raise Ended(Exit.FAILED, f"{len(found)} groups are called {word}: say the id, as `vyry client chats` shows it.")
    return UUID(found[0]["conversationId"]) if found else None


async def _is_nobody(client: Client, word: str) -> None:
    """Nobody takes the place of somebody else by the title of a group. Raises Ended."""
    try:
        # What the node says now does not count alone: it may hide that somebody is called that.
        if client.people.names.account(word) is None:
            await client.people.by_username(word)
    except (BadNumber, Refused):
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
    """What people are called on the screen, asked once. It decides nothing: mail goes where `person` says.

    Nobody looks like somebody else: the remembered name comes first, and what only the account itself or the node says is marked where it could mislead.
    """

    client: Client
    known: dict[UUID, str] = field(default_factory=dict)

    async def of(self, user_id: UUID) -> str:
        """The name remembered for this account, else its username, else a name that it chose, in quotes, else the id."""
        if user_id not in self.known:
            name = remembered(self.client, user_id)
            try:
                self.known[user_id] = name or shown(self.client, await self.client.people.profile(user_id))
            except (Refused, Unreachable):
                return str(user_id)
        return self.known[user_id]


def remembered(client: Client, user_id: UUID) -> str | None:
    """The newest username that is remembered for somebody else, else the newest number. One's own account is called what it is called now."""
    names = client.people.names.of(user_id) if user_id != client.user_id else ()
    usernames = [each for each in names if each.startswith("@")]
    return next(reversed(usernames or names), None)


def shown(client: Client, told: Mapping[str, Any]) -> str:
    """What the node tells of somebody else, as a name: never that of a remembered account."""
    user_id = UUID(told["userId"])
    # The last digits: the first ones of a user id are the time of the sign-up, and alike for all of that minute.
    digits = user_id.hex[-8:]
    if _USERNAME.fullmatch(str(told["username"] or "")):
        name = f"@{told['username']}"
        is_free = client.people.names.account(name) in (None, user_id) or user_id == client.user_id
        return name if is_free else f"another {name} ({digits})"
    chosen = line_in(told, "displayName", _CHOSEN) or (told.get("profile") or {}).get("name")
    return f"{quoted(chosen, _CHOSEN)} ({digits})" if chosen else str(user_id)


def titled(title: str) -> str:
    """The title of a group, marked when it could be taken for the name of a person."""
    return f"group {title}" if _LIKE_A_PERSON.match(unicodedata.normalize("NFKC", title)) else title


def _is_number(word: str) -> bool:
    """Whether a number is meant and no title: one with + or 00, or as it is dialled at home, which is refused. Other digits (a year, a day) may be a title."""
    return looks_like_a_number(word) and word.lstrip("( ").startswith(("+", "0", "\uff0b"))


def _id(word: str) -> UUID | None:
    try:
        return UUID(word)
    except ValueError:
        return None
