"""Rows as styled text. Text of other users is sanitized: it contains no markup and no control characters."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from textual.content import Content

from vyry.cli.client.chat.transcript import Row
from vyry.cli.client.event_texts import describe_event, message_text, reaction_text
from vyry.cli.client.terminal_text import MAX_NAME, indent_continuation, sanitize, sanitize_line
from vyry.client.store.events import Attachment, ContentEvent, Event, Message


#: Longer text is cut on the screen; `vyry client history` prints all of it.
MAX_TEXT: Final = 4_000
NameOf = Callable[[UUID], str]


def render_row(row: Row, name_of: NameOf, tick: str, width: int | None = None) -> Content:
    """One row. With a width wrapped lines are indented: no text begins in the column of the row heads."""
    event = row.event
    if not isinstance(event, ContentEvent):
        return Content.assemble((f"— {event_text(event, name_of)}", "$warning"))
    own = "$success" if event.is_own else "$primary"
    head = [
        (f"{format_time(event.at)} ", "dim"),
        (short_name(name_of(event.sender_id)), f"bold {own}"),
        (f" {tick}" if tick else "", "dim"),
    ]
    return Content.assemble(*head, *_row_body(row, event, name_of, width))


def render_alert(text: str) -> Content:
    """A row about an alert that stays until the user has handled it."""
    return Content.assemble((f"! {sanitize(text)}".replace("\n", " "), "bold $error"))


def short_name(text: str) -> str:
    """A name in one line."""
    return sanitize_line(text, MAX_NAME)


def file_names(event: Message) -> str:
    """The files of a message, by name and size."""
    return ", ".join(f"[{_file_label(each)}]" for each in event.attachments)


def event_text(event: Event, name_of: NameOf) -> str:
    """An event in one line."""
    about = event.body.get("senderId") or event.body.get("userId")
    return sanitize(describe_event(event, short_name(name_of(UUID(about))) if about else "")).replace("\n", " ")


def _row_body(row: Row, event: ContentEvent, name_of: NameOf, width: int | None) -> list[tuple[str, str]]:
    if row.is_unsent:
        return [("\n  message unsent", "dim italic")]
    if not isinstance(event, Message):
        return [(f"\n  {event_text(event, name_of)}", "italic")]
    quoted = [(f"\n  ┃ {_truncate_line(event.reply_text or 'an earlier message')}", "dim")] if event.reply_to else []
    text = [(f"\n  {_truncate_text(row.text, width)}", "")] if row.text else []
    edited = [(" (edited)", "dim")] if row.is_edited else []
    files = [(f"\n  {file_names(event)}", "$accent")] if event.attachments else []
    return [*quoted, *text, *edited, *files, *_reactions(row.reactions)]


def _reactions(reactions: Mapping[UUID, str]) -> list[tuple[str, str]]:
    shown = " ".join(reaction_text(emoji) for emoji in reactions.values())
    return [(f"\n  {shown}", "$accent")] if shown else []


def _truncate_text(text: str, width: int | None) -> str:
    cut = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text):,} characters)"
    return indent_continuation(cut, width)


def _truncate_line(text: str) -> str:
    line = sanitize(text).replace("\n", " ")
    return line if len(line) <= 80 else f"{line[:80]}…"


def _file_label(pointer: Attachment) -> str:
    return f"{message_text({'text': '', 'attachments': [pointer.as_json()]})[1:-1]}, {pointer.size:,} bytes"


def format_time(at: int) -> str:
    """A time by a sender's clock, which may be anything."""
    try:
        return datetime.fromtimestamp(at / 1_000).strftime("%d %b %H:%M")  # noqa: DTZ006  local time
    except (OverflowError, OSError, ValueError):
        return "??:??"
