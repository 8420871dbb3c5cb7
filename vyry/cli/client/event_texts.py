"""Texts of events."""

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from vyry.cli.client.alert_texts import ALERT_TEXTS, Body
from vyry.cli.client.names import DisplayNames
from vyry.cli.client.notices import notice
from vyry.cli.client.terminal_text import quote_name, sanitize, sanitize_fields, sanitize_line
from vyry.client.store.downloads import safe_name
from vyry.client.store.events import Event
from vyry.kernel.display_text import display_length


async def event_line(event: Event, names: DisplayNames) -> str:
    """An event as one line; a message may contain line ends, which `print_result` indents. An event without a text is named."""
    body = event.body
    about = body.get("senderId") or body.get("userId")
    who = await names.load(UUID(about)) if about else ""
    return describe_event(event, who)


def describe_event(event: Event, who: str) -> str:
    """The text of an event about the user with this name."""
    describe, body = _EVENT_TEXTS.get(event.name), event.body
    # Text of other users is reduced to one line, except the text of a message; `message_text` sanitizes file names.
    own = {"text": sanitize(body["text"])} if "text" in body else {}
    own |= {"attachments": body["attachments"]} if "attachments" in body else {}
    return describe(who, {**sanitize_fields(body), **own}) if describe else f"({event.name})"


def message_text(body: Body) -> str:
    """The text of a message and the names of its files."""
    files = [
        f"[{safe_name(each['fileName']) if 'fileName' in each else sanitize_line(each['mediaType'])}]"
        for each in body.get("attachments", ())
    ]
    return " ".join([*([body["text"]] if body["text"] else []), *files])


def reaction_text(emoji: str) -> str:
    """A reaction: a single emoji as it is, anything else shortened and in quotes."""
    shown = sanitize_line(emoji)
    return shown if display_length(shown) == 1 and not shown.isascii() else quote_name(shown, _MAX_REACTION)


_MAX_REACTION: Final = 8
_EVENT_TEXTS: Final[Mapping[str, Callable[[str, Body], str]]] = {
    "message": lambda who, body: f"{who}: {message_text(body)}",
    "edit": lambda who, body: f"{who} edited {body['target']['id']}: {body['text']}",
    "unsend": lambda who, body: f"{who} unsent {body['target']['id']}.",
    "reaction": lambda who, body: (
        f"{who} {'reacted with ' + reaction_text(body['emoji']) + ' to' if body.get('emoji') else 'removed the reaction to'} {body['target']['id']}."
    ),
    "location": lambda who, body: f"{who} shared a location: {body['latitude']}, {body['longitude']}.",
    "timer": lambda who, body: f"{who} set messages to disappear after {body['seconds']} s.",
    "unknown": lambda who, body: f"{who} sent something that this version cannot show ({body['kind']}). Update Vyry.",
    "receipt": lambda who, body: f"{who}: {body['state']} (messages: {len(body['targets'])}).",
    "read": lambda _, body: f"Read on another device of yours (messages: {len(body['targets'])}).",
    "typing": lambda who, body: f"{who} is typing." if body["isTyping"] else f"{who} stopped typing.",
    "presence": lambda who, body: f"{who} is online." if body["isOnline"] else f"{who} is offline.",
    "notice": notice,
    # No line of a user begins so: users are shown by @name, number or a name in quotes.
    "announcement": lambda _, body: f"Announcement of the operator of this node: {body['text']}",
    "decided": lambda who, body: (
        f"On another device you {'verified' if body['isVerified'] else 'accepted'} the key of {who}."
    ),
    **ALERT_TEXTS,
}
