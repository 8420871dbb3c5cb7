"""Names of users and conversations: resolved from the command line, and as they are printed."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from uuid import UUID

from cyclopts import Parameter

from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.terminal_text import quote_name
from vyry.cli.command_line import FreeText
from vyry.client.api.client import Client
from vyry.client.crypto.group_keys import read_text_field
from vyry.client.errors import BadNumber, Refused, Unreachable
from vyry.client.store.events import Target
from vyry.kernel.display_text import comparison_key
from vyry.kernel.phone_numbers import looks_like_number


#: How a command line names a user, a group or a conversation.
Account = Annotated[str, Parameter(help="The user: user id, @username or phone number (+...).")]
Group = Annotated[FreeText, Parameter(help="The group: title or conversation id.")]
Conversation = Annotated[
    FreeText, Parameter(help="The conversation: user id, @username, phone number (+...), title or id.")
]
MessageConversation = Annotated[
    FreeText, Parameter(help="The conversation of the message: user id, @username, phone number (+...), title or id.")
]
Recipient = Annotated[
    FreeText,
    Parameter(help="The recipient: user id, @username, phone number (+...), or title or id of a conversation."),
]

#: How many of the newest messages are searched.
HISTORY_SEARCH_LIMIT = 5_000
#: A valid username (docs/protocol.md); any other text from a node is not printed as one.
_USERNAME: Final = re.compile(r"[a-z0-9_.]{3,30}")
#: Characters of a chosen name that are shown.
_MAX_CHOSEN_NAME: Final = 24
#: The beginning of a user name as it is printed, behind invisible characters.
_PERSON_PREFIX: Final = re.compile(r"\W*[@+\"]")


async def resolve_account(client: Client, word: str, *, refresh: bool = False) -> UUID:
    """The account of a user id, username (with or without @) or phone number; a known name means the account remembered for it. Raises BadNumber, NameChanged, NobodyFound, Refused, Unreachable."""
    return _parse_id(word) or await client.people.resolve(word, refresh=refresh)


def is_user_id(word: str) -> bool:
    """Whether the word is a user id."""
    return _parse_id(word) is not None


async def resolve_conversation(client: Client, word: str) -> UUID:
    """The conversation with this id, the group with this title, or the direct conversation with this user. Raises CommandFailed, Refused, Unreachable."""
    found = _parse_id(word)
    if found is not None:
        try:
            await client.conversations.get(found)
        except Refused as refused:
            if refused.status != 404:
                raise
            if any(each.conversation_id == found for each in client.conversations.archived()):
                return found
        else:
            return found
    if not (word.startswith("@") or _is_phone_number(word)):
        titled = await _find_group_by_title(client, word)
        if titled is not None:
            await _refuse_ambiguous_name(client, word)
            return titled
    return await client.direct(await resolve_account(client, word))


async def resolve_group(client: Client, word: str) -> UUID:
    """The group with this id or title. Raises CommandFailed, Refused, Unreachable."""
    found = _parse_id(word) or await _find_group_by_title(client, word)
    if found is None:
        raise CommandFailed(
            Exit.NOT_FOUND, f"No group has the title or id {word}. Run `vyry client chats` to list your groups."
        )
    return found


async def _find_group_by_title(client: Client, word: str) -> UUID | None:
    # First receive keys that decrypt titles.
    await client.conversations.wait_until_drained()
    listed = await client.conversations.list()
    found = [each for each in listed if each["title"] and comparison_key(each["title"]) == comparison_key(word)]
    if len(found) > 1:
        raise CommandFailed(
            Exit.FAILED, f"{len(found)} groups have the title {word}: use the id, as shown by `vyry client chats`."
        )
    return UUID(found[0]["conversationId"]) if found else None


async def _refuse_ambiguous_name(client: Client, word: str) -> None:
    """Raises CommandFailed when the title of a group is also a username: a group must not receive the messages of a user."""
    try:
        # The remembered names come first: the node may hide an account.
        if client.people.names.account(word) is None:
            await client.people.by_username(word)
    except (BadNumber, Refused):
        return
    raise CommandFailed(
        Exit.FAILED, f"{word} is both a group title and a username: use @{word} for the user, or the id of the group."
    )


def find_target(client: Client, conversation_id: UUID, message_id: UUID) -> Target:
    """The message with this id. Raises CommandFailed when this device does not have it."""
    for event in client.conversations.history(conversation_id, HISTORY_SEARCH_LIMIT):
        if event.body.get("id") == str(message_id):
            return Target(message_id, UUID(event.body["senderId"]))
    raise CommandFailed(Exit.NOT_FOUND, f"This conversation has no message {message_id}.")


@dataclass(frozen=True, slots=True)
class DisplayNames:
    """The names of users as they are printed, requested once each. For display only: `resolve_account` decides the recipient.

    A remembered name comes first; a name that only the account or the node claims is marked where it could be mistaken for another.
    """

    client: Client
    cached: dict[UUID, str] = field(default_factory=dict)

    async def load(self, user_id: UUID) -> str:
        """The remembered name of this account, else its username, else its chosen name in quotes, else the id."""
        if user_id not in self.cached:
            name = remembered_name(self.client, user_id)
            try:
                self.cached[user_id] = name or profile_name(self.client, await self.client.people.profile(user_id))
            except (Refused, Unreachable):
                return str(user_id)
        return self.cached[user_id]


def remembered_name(client: Client, user_id: UUID) -> str | None:
    """The newest username remembered for another account, else the newest number. None for the own account, whose current name is used."""
    names = client.people.names.of(user_id) if user_id != client.user_id else ()
    usernames = [each for each in names if each.startswith("@")]
    return next(reversed(usernames or names), None)


def profile_name(client: Client, profile: Mapping[str, Any]) -> str:
    """A name from a profile of the node: never that of a remembered account."""
    user_id = UUID(profile["userId"])
    # The last digits: the first digits of a user id are the time of registration.
    digits = user_id.hex[-8:]
    if _USERNAME.fullmatch(str(profile["username"] or "")):
        name = f"@{profile['username']}"
        is_free = client.people.names.account(name) in (None, user_id) or user_id == client.user_id
        return name if is_free else f"another {name} ({digits})"
    chosen = read_text_field(profile, "displayName", _MAX_CHOSEN_NAME) or (profile.get("profile") or {}).get("name")
    return f"{quote_name(chosen, _MAX_CHOSEN_NAME)} ({digits})" if chosen else str(user_id)


def group_label(title: str) -> str:
    """The title of a group, marked when it looks like the name of a user."""
    return f"group {title}" if _PERSON_PREFIX.match(unicodedata.normalize("NFKC", title)) else title


def _is_phone_number(word: str) -> bool:
    """Whether the word is a phone number and no title: it begins with + or 0; without a country code it is rejected later. Other digits may be a title."""
    return looks_like_number(word) and word.lstrip("( ").startswith(("+", "0", "\uff0b"))


def _parse_id(word: str) -> UUID | None:
    try:
        return UUID(word)
    except ValueError:
        return None
