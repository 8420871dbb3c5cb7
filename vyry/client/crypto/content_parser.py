"""Contents of other devices as events. Every field is validated: the sender may write anything."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from vyry.client.store.events import (
    Attachment,
    ContentEvent,
    Edit,
    Location,
    Message,
    Reaction,
    Read,
    Receipt,
    Target,
    TimerSet,
    Unknown,
    Unsend,
)
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.packing import pack
from vyry.signal_protocol.contents import Content, read_id
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import BadContent


_MAX_THUMBNAIL: Final = 4_096
_MAX_MEDIA_TYPE: Final = 255
#: The fields of a text that the event has under names of its own.
_TEXT_FIELDS: Final = ("text", "replyTo", "attachments", "timerSeconds", "isViewOnce", "deviceList", "resendOf")
_MAX_TARGETS: Final = 1_000
_MAX_EMOJI: Final = 64
_RECEIPTS: Final = ("delivered", "read", "viewed")
Fields = Mapping[str, Any]


def content_event(content: Content, sender: Address, *, is_own: bool) -> ContentEvent:  # noqa: PLR0911  a kind each
    """The event of a content. A kind that is not known is Unknown. Raises BadContent."""
    fields = content.fields
    common: dict[str, Any] = {
        "conversation_id": content.conversation_id,
        "sender_id": sender.user_id,
        "sender_device_id": sender.device_id,
        "id": content.id,
        "at": content.at,
        "is_own": is_own,
    }
    match content.kind:
        case "text":
            return _message(fields, common)
        case "edit":
            return Edit(**common, of=read_target(fields.get("target")), text=_read_text(fields, "text"))
        case "unsend":
            return Unsend(**common, of=read_target(fields.get("target")))
        case "reaction":
            return Reaction(**common, of=read_target(fields.get("target")), emoji=_read_emoji(fields))
        case "location":
            label = _read_text(fields, "label") if "label" in fields else None
            return Location(
                **common,
                latitude=_read_degrees(fields, "latitude", 90),
                longitude=_read_degrees(fields, "longitude", 180),
                label=label,
            )
        case "timer":
            return TimerSet(**common, seconds=read_count(fields, "seconds"))
        case other:
            return Unknown(**common, kind=other, extra=_extra(fields, ()))


def receipt_event(content: Content, sender: Address) -> Receipt | None:
    """A receipt; None for one without targets, which is sent only so that every device gets a copy. Raises BadContent."""
    state, targets = content.fields.get("state"), _read_list(content.fields, "targets")
    if state not in _RECEIPTS:
        raise BadContent
    found = tuple(read_id(each) for each in targets)
    common: dict[str, Any] = {"conversation_id": content.conversation_id, "sender_id": sender.user_id}
    return Receipt(**common, sender_device_id=sender.device_id, state=state, targets=found) if found else None


def read_sync_event(content: Content, targets: object) -> Read:
    """The targets that another own device read. Raises BadContent."""
    found = tuple(read_target(each) for each in _read_list({"read": targets}, "read"))
    return Read(conversation_id=content.conversation_id, targets=found)


def read_target(value: object) -> Target:
    """The target of a content. Raises BadContent."""
    if not isinstance(value, dict):
        raise BadContent
    return Target(read_id(value.get("id")), read_id(value.get("senderId")))


def read_bytes(fields: Fields, name: str, size: int) -> bytes:
    """A field of `size` bytes. Raises BadContent."""
    try:
        found = decode_bytes(_read_text(fields, name))
    except ValueError:
        raise BadContent from None
    if len(found) != size:
        raise BadContent
    return found


def read_attachment(value: object) -> Attachment:
    """A pointer to a sealed file. Raises BadContent."""
    if not isinstance(value, dict):
        raise BadContent
    return Attachment(
        read_id(value.get("attachmentId")),
        read_bytes(value, "key", 32),
        read_bytes(value, "digest", 32),
        read_count(value, "size"),
        read_media_type(value),
        _read_text(value, "fileName") if value.get("fileName") is not None else None,
        {name: read(value, name) for name, read in _DISPLAY_FIELDS.items() if value.get(name) is not None},
    )


def read_history_pointer(value: object) -> tuple[Attachment, bytes]:
    """The archive of a history and its key. The schema is closed: this and nothing else. Raises BadContent."""
    if not isinstance(value, dict) or set(value) != {"attachment", "key"}:
        raise BadContent
    pointer = value["attachment"]
    if not isinstance(pointer, dict) or set(pointer) != {"attachmentId", "key", "digest", "size", "mediaType"}:
        raise BadContent
    return read_attachment(pointer), read_bytes(value, "key", 32)


def read_count(fields: Fields, name: str) -> int:
    """A number from 0 to 2^53-1. Raises BadContent."""
    value = fields.get(name)
    if type(value) is not int or not 0 <= value < 2**53:
        raise BadContent
    return value


def _message(fields: Fields, common: Mapping[str, Any]) -> Message:
    reply = fields.get("replyTo")
    return Message(
        **common,
        text=_read_text(fields, "text"),
        reply_to=None if reply is None else read_target(reply),
        reply_text=_read_text(reply, "text") if isinstance(reply, dict) and "text" in reply else None,
        attachments=tuple(read_attachment(each) for each in _read_list(fields, "attachments")),
        timer_seconds=read_count(fields, "timerSeconds") if "timerSeconds" in fields else None,
        is_view_once=True if fields.get("isViewOnce") is True else None,
        extra=_extra(fields, _TEXT_FIELDS),
    )


def _extra(fields: Fields, known: Sequence[str]) -> Fields:
    """Fields of newer versions. Raises BadContent for values that cannot be stored."""
    extra = {name: value for name, value in fields.items() if name not in known}
    try:
        pack(extra)
    except (ValueError, OverflowError, RecursionError):
        raise BadContent from None
    return extra


def _read_text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or "\0" in value:
        raise BadContent
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadContent from None
    return value


def _read_emoji(fields: Fields) -> str | None:
    if fields.get("emoji") is None:
        return None
    emoji = _read_text(fields, "emoji")
    if not 0 < len(emoji) <= _MAX_EMOJI:
        raise BadContent
    return emoji


def _read_degrees(fields: Fields, name: str, limit: int) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -limit <= value <= limit:
        raise BadContent
    return float(value)


def _read_list(fields: Fields, name: str) -> Sequence[object]:
    value = fields.get(name, [])
    if not isinstance(value, list) or len(value) > _MAX_TARGETS:
        raise BadContent
    return value


def read_media_type(fields: Fields) -> str:
    """The media type of a file, one printable line. Raises BadContent."""
    kind = _read_text(fields, "mediaType")
    if len(kind) > _MAX_MEDIA_TYPE or not kind.isprintable():
        raise BadContent
    return kind


def _read_thumbnail(fields: Fields, name: str) -> str:
    text = _read_text(fields, name)
    try:
        is_small = len(decode_bytes(text)) <= _MAX_THUMBNAIL
    except ValueError:
        is_small = False
    if not is_small:
        raise BadContent
    return text


def _read_flag(fields: Fields, name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise BadContent
    return value


#: The fields of an attachment that describe how to show it.
_DISPLAY_FIELDS: Final[Mapping[str, Callable[[Fields, str], Any]]] = {
    "width": read_count,
    "height": read_count,
    "durationMs": read_count,
    "thumbnail": _read_thumbnail,
    "isVoiceNote": _read_flag,
}
