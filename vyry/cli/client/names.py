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
from vyry.signal_protocol.contact_links import is_link


#: How a command line names a user, a group or a conversation.
Account = Annotated[
    str, Parameter(help="The user: a name that you gave, @username, phone number (+...), contact link or user id.")
]
Group = Annotated[FreeText, Parameter(help="The group: title or conversation id.")]
Conversation = Annotated[
    FreeText, Parameter(help="The conversation: name, @username, phone number (+...), contact link, title or id.")
]
MessageConversation = Annotated[
    FreeText,
    Parameter(help="The conversation of the message: name, @username, phone number (+...), contact link, title or id."),
]
Recipient = Annotated[
    FreeText,
    Parameter(
        help="The recipient: name, @username, phone number (+...), contact link or user id, or title or id of a group."
    ),
]

#: How many of the newest messages are searched.
HISTORY_SEARCH_LIMIT = 5_000
#: A valid username (docs/protocol.md); any other text from a node is not printed as one.
_USERNAME: Final = re.compile(r"[a-z0-9_.]{3,30}")
#: Characters of a chosen name that are shown.
_MAX_CHOSEN_NAME: Final = 24
#: Signs with which a name could read like a username, a number or a line of another user.
_ADDRESS_SIGNS: Final = frozenset('@+:"')
#: Characters of an id that are shown for an account without a name, and digits that distinguish accounts.
_SHORT_ID: Final = 8
_DIGITS: Final = 8
#: The beginning of a user name as it is printed, behind invisible characters.
_PERSON_PREFIX: Final = re.compile(r"\W*[@+\"]")


async def resolve_account(client: Client, word: str, *, refresh: bool = False) -> UUID:
    """The account that the word means: see `People.resolve`. Raises AmbiguousName, BadNumber, NameChanged, NobodyFound, Refused, Unreachable."""
    return await client.people.resolve(word, refresh=refresh)


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
            if client.conversations.archived.get(found) is not None:
                return found
        else:
            return found
    if not (word.startswith("@") or is_link(word) or _is_phone_number(word)):
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
        ids = ", ".join(each["conversationId"] for each in found)
        raise CommandFailed(
            Exit.WRONG_LINE, f"{len(found)} groups have the title {word}: use the id of one of them ({ids})."
        )
    return UUID(found[0]["conversationId"]) if found else None


async def _refuse_ambiguous_name(client: Client, word: str) -> None:
    """Raises CommandFailed when the title of a group is also a username: a group must not receive the messages of a user."""
    names, is_given = client.people.names, bool(client.people.names.given_to(word))
    try:
        # The remembered names come first: the node may hide an account.
        if not is_given and names.account(word) is None:
            await client.people.by_username(word)
    except (BadNumber, Refused):
        return
    if is_given:
        problem = f"{word} is both a group title and a name that you gave: use the id of the user or of the group."
    else:
        problem = f"{word} is both a group title and a username: use @{word} for the user, or the id of the group."
    raise CommandFailed(Exit.WRONG_LINE, problem)


def find_target(client: Client, conversation_id: UUID, message_id: UUID) -> Target:
    """The message with this id. Raises CommandFailed when this device does not have it."""
    for event in client.conversations.history(conversation_id, HISTORY_SEARCH_LIMIT):
        if event.body.get("id") == str(message_id):
            return Target(message_id, UUID(event.body["senderId"]))
    raise CommandFailed(Exit.NOT_FOUND, f"This conversation has no message {message_id}.")


@dataclass(frozen=True, slots=True)
class DisplayNames:
    """The names of users as they are printed, requested once each. For display only: `resolve_account` decides the recipient.

    Only a name that the user gave is shown as it is. A name that an account chose is in quotes, and marked where it looks like the name of another account.
    """

    client: Client
    cached: dict[UUID, str] = field(default_factory=dict)
    #: Those whose sealed profile could not be read yet: its key may have arrived since.
    unread: set[UUID] = field(default_factory=set)

    async def load(self, user_id: UUID) -> str:
        """The name that the user gave, else the chosen one, else the username, else the masked number, else the beginning of the id."""
        can_be_read = self.client.people.chosen.can_be_read(user_id)
        if user_id in self.cached and not (user_id in self.unread and can_be_read):
            return self.cached[user_id]
        found = given_name(self.client, user_id)
        try:
            found = found or profile_name(self.client, await self.client.people.profile(user_id))
        except (Refused, Unreachable):
            return known_name(self.client, user_id)
        (self.unread.discard if can_be_read else self.unread.add)(user_id)
        self.cached[user_id] = found
        return found


def given_name(client: Client, user_id: UUID) -> str | None:
    """The name that the user gave; accounts with the same name also show a distinguishing text."""
    names = client.people.names
    given = names.given(user_id)
    if given is None or user_id == client.user_id:
        return None
    return given if len(names.given_to(given)) == 1 else f"{given} ({_distinction(client, user_id)})"


def account_word(client: Client, user_id: UUID) -> str:
    """A word that means this account in the next command."""
    names = client.people.names
    given, addresses = names.given(user_id), [each for each in names.of(user_id) if each[0] in "@+"]
    if given is not None and len(names.given_to(given)) == 1:
        return given
    usernames = [each for each in addresses if each.startswith("@")]
    return next(reversed(usernames or addresses), str(user_id))


def known_name(client: Client, user_id: UUID) -> str:
    """The name of an account by what this profile knows, without the node."""
    chosen = client.people.chosen.of(user_id)
    return (
        given_name(client, user_id)
        or (_chosen_name(client, user_id, chosen) if chosen else None)
        or remembered_name(client, user_id)
        or _short_id(user_id)
    )


def remembered_name(client: Client, user_id: UUID) -> str | None:
    """The newest username remembered for another account, else its newest number, masked. None for the own account, whose current name is used."""
    names = client.people.names.of(user_id) if user_id != client.user_id else ()
    usernames = [each for each in names if each.startswith("@")]
    numbers = [mask_number(each) for each in names if each.startswith("+")]
    return next(reversed(usernames or numbers), None)


def profile_name(client: Client, profile: Mapping[str, Any]) -> str:
    """A name from a profile of the node; never one that looks like that of another account."""
    user_id = UUID(profile["userId"])
    chosen = (profile.get("profile") or {}).get("name")
    return (
        given_name(client, user_id)
        or (_chosen_name(client, user_id, chosen) if chosen else None)
        or _reported_name(client, user_id, profile)
    )


def _reported_name(client: Client, user_id: UUID, profile: Mapping[str, Any]) -> str:
    """The username, else the number, else the name that the node can read, else the beginning of the id."""
    own, digits, remembered = user_id == client.user_id, user_id.hex[-_DIGITS:], remembered_name(client, user_id)
    if _USERNAME.fullmatch(str(profile["username"] or "")) and not (remembered or "").startswith("@"):
        name = f"@{profile['username']}"
        is_free = own or client.people.names.account(name) in (None, user_id)
        return name if is_free else f"another {name} ({digits})"
    shown = read_text_field(profile, "displayName", _MAX_CHOSEN_NAME)
    if shown and remembered is None:
        # The node can read and change this one.
        return f"{quote_name(shown, _MAX_CHOSEN_NAME)} ({digits})"
    return remembered or _short_id(user_id)


def mask_number(number: str) -> str:
    """A number as it is shown: its last four digits."""
    return f"{number[:3]}…{number[-4:]}"


def _chosen_name(client: Client, user_id: UUID, chosen: str) -> str:
    """A name that the account chose, in quotes; with a distinguishing text where another account has a similar name."""
    people, quoted = client.people, quote_name(chosen, _MAX_CHOSEN_NAME)
    alike = {*people.names.given_to(chosen), *people.chosen.chosen_by(chosen), *_holders(client, chosen)} - {user_id}
    is_like_address = not _ADDRESS_SIGNS.isdisjoint(unicodedata.normalize("NFKC", chosen))
    return f"{quoted} ({_distinction(client, user_id)})" if alike or is_like_address else quoted


def _short_id(user_id: UUID) -> str:
    """The beginning of an id. It is the time of registration, which others share, so the end follows."""
    return f"{str(user_id)[:_SHORT_ID]} ({user_id.hex[-_DIGITS:]})"


def _holders(client: Client, chosen: str) -> list[UUID]:
    """The account that the profile remembers under this text."""
    try:
        holder = client.people.names.account(chosen)
    except BadNumber:
        return []
    return [] if holder is None else [holder]


def _distinction(client: Client, user_id: UUID) -> str:
    """The text that distinguishes an account from others of the same name: the last digits of the id, because the first ones are the time of registration."""
    return remembered_name(client, user_id) or user_id.hex[-_DIGITS:]


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
