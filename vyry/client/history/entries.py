"""Events of the journal as entries of an archive, and back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from vyry.client.crypto.content_parser import content_event
from vyry.client.history.errors import Damaged
from vyry.client.history.frames import MAX_CONTENT, Entry
from vyry.client.store.events import (
    Attachment,
    ContentEvent,
    Edit,
    Event,
    Location,
    MemberAdded,
    Message,
    Reaction,
    TimerSet,
    Unknown,
    Unreadable,
    Unsend,
)
from vyry.signal_protocol.contents import Content, read_content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import Refusal


def to_entry(event: Event) -> Entry | None:  # noqa: PLR0911  a kind each
    """The entry of an event; None for one that no archive holds: a message that can be viewed once, and what no reader would take."""
    match event:
        case Message(is_view_once=True):
            return None
        case ContentEvent():
            return _content_entry(event)
        case MemberAdded():
            return Entry("memberAdded", event.user_id, is_verified=event.is_verified)
        case Unreadable(message_id=message_id, reason=reason):
            return Entry("unreadable", event.sender_id, event.sender_device_id, message_id=message_id, reason=reason)
        case _:
            return None


def _content_entry(event: ContentEvent) -> Entry | None:
    try:
        packed = Content(_kind(event), event.id, event.at, event.conversation_id, _fields(event)).pack().decode()
    except Refusal:
        return None
    return Entry("content", event.sender_id, event.sender_device_id, packed) if len(packed) <= MAX_CONTENT else None


def to_event(entry: Entry, conversation_id: UUID, account_id: UUID) -> Event:
    """The event of an entry in this conversation; `account_id` is the account of the archive. Raises Damaged."""
    match entry.event:
        case "content":
            try:
                content = read_content(entry.content.encode(), conversation_id)
                sender = Address(entry.sender_id, entry.device_id)
                return content_event(content, sender, is_own=entry.sender_id == account_id)
            except (Refusal, UnicodeEncodeError):
                raise Damaged from None
        case "memberAdded":
            return MemberAdded(conversation_id=conversation_id, user_id=entry.sender_id, is_verified=entry.is_verified)
        case _:
            assert entry.message_id is not None
            return Unreadable(
                conversation_id=conversation_id,
                sender_id=entry.sender_id,
                sender_device_id=entry.device_id,
                message_id=entry.message_id,
                reason=entry.reason or "",
            )


def with_state(entry: Entry, *, is_read: bool, receipts: Mapping[UUID, str], ends_at: int | None) -> Entry:
    """The entry with the known parts of its content."""
    return replace(entry, is_read=is_read, receipts=receipts, ends_at=ends_at)


def _kind(event: ContentEvent) -> str:
    match event:
        case Message():
            return "text"
        case Unknown():
            return event.kind
        case _:
            return event.name


def _fields(event: ContentEvent) -> Mapping[str, Any]:  # noqa: PLR0911  a kind each
    """The fields of a content as its sender wrote them."""
    match event:
        case Message():
            return _text_fields(event)
        case Edit():
            return {"target": event.of.as_json(), "text": event.text}
        case Unsend():
            return {"target": event.of.as_json()}
        case Reaction():
            return {"target": event.of.as_json(), "emoji": event.emoji}
        case Location():
            label = {} if event.label is None else {"label": event.label}
            return {"latitude": event.latitude, "longitude": event.longitude, **label}
        case TimerSet():
            return {"seconds": event.seconds}
        case Unknown():
            return event.extra
        case _:
            return {}


def _text_fields(event: Message) -> Mapping[str, Any]:
    reply = None if event.reply_to is None else dict(event.reply_to.as_json())
    if reply is not None and event.reply_text is not None:
        reply["text"] = event.reply_text
    known = {
        "replyTo": reply,
        "attachments": [Attachment.as_json(each) for each in event.attachments] or None,
        "timerSeconds": event.timer_seconds,
    }
    return {**event.extra, "text": event.text, **{name: value for name, value in known.items() if value is not None}}
