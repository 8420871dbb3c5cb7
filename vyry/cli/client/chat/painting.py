"""Rows in words and colours. What others wrote is only ever text here: never markup, never a control of the terminal."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from textual.content import Content

from vyry.cli.client.chat.transcript import Row
from vyry.cli.client.plain import LONGEST_NAME, plain, set_in, word
from vyry.cli.client.telling import said, sign, words
from vyry.client.events import Attachment, Event, Message, Said


#: Longer text is cut on the screen: `vyry client history` prints all of it.
LONGEST: Final = 4_000
NameOf = Callable[[UUID], str]


def painted(row: Row, name_of: NameOf, tick: str, width: int | None = None) -> Content:
    """One row as it is shown. With a width: what would run on there is set in, so that no text goes on where the head of a row stands."""
    event = row.event
    if not isinstance(event, Said):
        return Content.assemble((f"— {event_words(event, name_of)}", "$warning"))
    own = "$success" if event.is_own else "$primary"
    head = [
        (f"{_time(event.at)} ", "dim"),
        (name(name_of(event.sender_id)), f"bold {own}"),
        (f" {tick}" if tick else "", "dim"),
    ]
    return Content.assemble(*head, *_body(row, event, name_of, width))


def alert(text: str) -> Content:
    """A row about something that a person has to look at: it stays until that is done."""
    return Content.assemble((f"! {plain(text)}".replace("\n", " "), "bold $error"))


def name(text: str) -> str:
    """A name in one line."""
    return word(text, LONGEST_NAME)


def file_names(event: Message) -> str:
    """The files of a message, by name and size."""
    return ", ".join(f"[{_file(each)}]" for each in event.attachments)


def event_words(event: Event, name_of: NameOf) -> str:
    """An event in one line."""
    about = event.body.get("senderId") or event.body.get("userId")
    return plain(words(event, name(name_of(UUID(about))) if about else "")).replace("\n", " ")


def _body(row: Row, event: Said, name_of: NameOf, width: int | None) -> list[tuple[str, str]]:
    if row.is_gone:
        return [("\n  taken back", "dim italic")]
    if not isinstance(event, Message):
        return [(f"\n  {event_words(event, name_of)}", "italic")]
    quoted = [(f"\n  ┃ {_short(event.reply_text or 'an earlier message')}", "dim")] if event.reply_to else []
    text = [(f"\n  {_cut(row.text, width)}", "")] if row.text else []
    edited = [(" (edited)", "dim")] if row.is_edited else []
    files = [(f"\n  {file_names(event)}", "$accent")] if event.attachments else []
    return [*quoted, *text, *edited, *files, *_reactions(row.reactions)]


def _reactions(reactions: Mapping[UUID, str]) -> list[tuple[str, str]]:
    shown = " ".join(sign(emoji) for emoji in reactions.values())
    return [(f"\n  {shown}", "$accent")] if shown else []


def _cut(text: str, width: int | None) -> str:
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"
    return set_in(cut, width)


def _short(text: str) -> str:
    line = plain(text).replace("\n", " ")
    return line if len(line) <= 80 else f"{line[:80]}…"


def _file(pointer: Attachment) -> str:
    return f"{said({'text': '', 'attachments': [pointer.as_json()]})[1:-1]}, {pointer.size:,} bytes"


def _time(at: int) -> str:
    try:
        return datetime.fromtimestamp(at / 1_000).strftime("%d %b %H:%M")  # noqa: DTZ006  where the reader is
    except (OverflowError, OSError, ValueError):
        return "??:??"
