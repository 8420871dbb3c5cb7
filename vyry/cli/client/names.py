"""How people and conversations are called on a command line, and how they are shown."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.terminal_text import quote_name
from vyry.client.api.client import Client
from vyry.client.crypto.group_keys import read_line
from vyry.client.errors import BadNumber, Refused, Unreachable
from vyry.client.store.events import Target
from vyry.kernel.display_text import comparison_key
from vyry.kernel.phone_numbers import looks_like_number


#: A message is looked for among so many of the newest.
HISTORY_SEARCH_LIMIT = 5_000
#: As nodes take it (docs/protocol.md): whatever else a node says is no username.
_USERNAME: Final = re.compile(r"[a-z0-9_.]{3,30}")
#: So much of a name that somebody chose is shown.
_MAX_CHOSEN_NAME: Final = 24
#: How the names of people begin here, whatever cannot be seen before it.
_PERSON_PREFIX: Final = re.compile(r"\W*[@+\"]")


async def resolve_account(client: Client, word: str, *, refresh: bool = False) -> UUID:
    """Whoever is meant: a user id, or a username (with @ or without) or telephone number, which mean the account remembered for them. Raises BadNumber, NameChanged, NobodyFound, Refused, Unreachable."""
    return _parse_id(word) or await client.people.resolve(word, refresh=refresh)


def is_user_id(word: str) -> bool:
    """Whether the word names an account by itself."""
    return _parse_id(word) is not None


async def resolve_conversation(client: Client, word: str) -> UUID:
    """The conversation of that id, the group of that title, or the direct one with that person. Raises Ended, Refused, Unreachable."""
    found = _parse_id(word)
    if found is not None:
        try:
            await client.conversations.get(found)
        except Refused as refused:
            if refused.status != 404:
                raise
        else:
            return found
    if not (word.startswith("@") or _is_phone_number(word)):
        titled = await _find_group_by_title(client, word)
        if titled is not None:
            await _refuse_ambiguous_name(client, word)
            return titled
    return await client.direct(await resolve_account(client, word))


async def resolve_group(client: Client, word: str) -> UUID:
    """The group of that id or title. Raises Ended, Refused, Unreachable."""
    found = _parse_id(word) or await _find_group_by_title(client, word)
    if found is None:
        raise CommandFailed(Exit.NOT_FOUND, f"No group is called {word}.")
    return found


async def _find_group_by_title(client: Client, word: str) -> UUID | None:
    # A key that has come meanwhile opens the title.
    await client.conversations.wait_until_drained()
    listed = await client.conversations.list()
    found = [each for each in listed if each["title"] and comparison_key(each["title"]) == comparison_key(word)]
    if len(found) > 1:
        raise CommandFailed(
            Exit.FAILED, f"{len(found)} groups are called {word}: say the id, as `vyry client chats` shows it."
        )
    return UUID(found[0]["conversationId"]) if found else None


async def _refuse_ambiguous_name(client: Client, word: str) -> None:
    """Nobody takes the place of somebody else by the title of a group. Raises Ended."""
    try:
        # What the node says now does not count alone: it may hide that somebody is called that.
        if client.people.names.account(word) is None:
            await client.people.by_username(word)
    except (BadNumber, Refused):
        return
    raise CommandFailed(Exit.FAILED, f"A group is called {word}, and somebody is: say @{word}, or the id of the group.")


def find_target(client: Client, conversation_id: UUID, message_id: UUID) -> Target:
    """An earlier content. Raises Ended when this device does not know it."""
    for event in client.conversations.history(conversation_id, HISTORY_SEARCH_LIMIT):
        if event.body.get("id") == str(message_id):
            return Target(message_id, UUID(event.body["senderId"]))
    raise CommandFailed(Exit.NOT_FOUND, f"No message {message_id} is in this conversation.")


@dataclass(frozen=True, slots=True)
class DisplayNames:
    """What people are called on the screen, asked once. It decides nothing: mail goes where `person` says.

    Nobody looks like somebody else: the remembered name comes first, and what only the account itself or the node says is marked where it could mislead.
    """

    client: Client
    cached: dict[UUID, str] = field(default_factory=dict)

    async def load(self, user_id: UUID) -> str:
        """The name remembered for this account, else its username, else a name that it chose, in quotes, else the id."""
        if user_id not in self.cached:
            name = remembered_name(self.client, user_id)
            try:
                self.cached[user_id] = name or profile_name(self.client, await self.client.people.profile(user_id))
            except (Refused, Unreachable):
                return str(user_id)
        return self.cached[user_id]


def remembered_name(client: Client, user_id: UUID) -> str | None:
    """The newest username that is remembered for somebody else, else the newest number. One's own account is called what it is called now."""
    names = client.people.names.of(user_id) if user_id != client.user_id else ()
    usernames = [each for each in names if each.startswith("@")]
    return next(reversed(usernames or names), None)


def profile_name(client: Client, told: Mapping[str, Any]) -> str:
    """What the node tells of somebody else, as a name: never that of a remembered account."""
    user_id = UUID(told["userId"])
    # The last digits: the first ones of a user id are the time of the sign-up, and alike for all of that minute.
    digits = user_id.hex[-8:]
    if _USERNAME.fullmatch(str(told["username"] or "")):
        name = f"@{told['username']}"
        is_free = client.people.names.account(name) in (None, user_id) or user_id == client.user_id
        return name if is_free else f"another {name} ({digits})"
    chosen = read_line(told, "displayName", _MAX_CHOSEN_NAME) or (told.get("profile") or {}).get("name")
    return f"{quote_name(chosen, _MAX_CHOSEN_NAME)} ({digits})" if chosen else str(user_id)


def group_label(title: str) -> str:
    """The title of a group, marked when it could be taken for the name of a person."""
    return f"group {title}" if _PERSON_PREFIX.match(unicodedata.normalize("NFKC", title)) else title


def _is_phone_number(word: str) -> bool:
    """Whether a number is meant and no title: one with + or 00, or as it is dialled at home, which is refused. Other digits (a year, a day) may be a title."""
    return looks_like_number(word) and word.lstrip("( ").startswith(("+", "0", "\uff0b"))


def _parse_id(word: str) -> UUID | None:
    try:
        return UUID(word)
    except ValueError:
        return None
