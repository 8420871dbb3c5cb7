"""The frames of an archive as JSON (docs/history.md): each is validated field by field when it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self
from uuid import UUID

import orjson

from vyry.client.history.errors import Damaged
from vyry.client.history.field_reading import (
    MAX_ITEMS,
    Fields,
    parse_id,
    read_bytes,
    read_flag,
    read_id,
    read_items,
    read_key,
    read_list,
    read_number,
    read_object,
    read_optional,
    read_text,
    read_word,
)
from vyry.client.store.archived_conversations import ArchivedConversation
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.pins import MAX_MEMBERS, is_name


MAX_NAMES: Final = 100
MAX_TITLE: Final = 1_000
MAX_CONTENT: Final = 131_072
RECEIPT_STATES: Final = ("delivered", "read", "viewed")
PURPOSES: Final = ("backup", "link")
CONVERSATION_KINDS: Final = ("direct", "group", "unknown")
ENTRY_EVENTS: Final = ("content", "memberAdded", "unreadable")
_MAX_WORD: Final = 100
#: Bytes of a part of a file.
MAX_PART: Final = 524_288


@dataclass(frozen=True, slots=True)
class Header:
    """The first frame. `since`: messages from this moment on; None: all. Moments are ms since 1970."""

    NAME: ClassVar[str] = "header"
    created_at: int
    purpose: str
    since: int | None
    has_files: bool

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        times = {"createdAt": self.created_at, "since": self.since}
        return {**times, "purpose": self.purpose, "hasFiles": self.has_files}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        return cls(
            read_number(fields, "createdAt"),
            read_word(fields, "purpose", PURPOSES),
            read_optional(fields, "since", read_number),
            read_flag(fields, "hasFiles"),
        )


@dataclass(frozen=True, slots=True)
class AccountFrame:
    """The account whose history it is."""

    NAME: ClassVar[str] = "account"
    user_id: UUID

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        return {"userId": str(self.user_id)}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        return cls(read_id(fields, "userId"))


@dataclass(frozen=True, slots=True)
class Contact:
    """What is remembered of another account: its names, its identity key with the decision about it, its profile key."""

    user_id: UUID
    names: tuple[str, ...] = ()
    identity_key: bytes | None = None
    is_verified: bool = False
    decided_at: int = 0
    profile_key: bytes | None = field(default=None, repr=False)

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        keys = {"identityKey": _base64(self.identity_key), "profileKey": _base64(self.profile_key)}
        decision = {"isVerified": self.is_verified, "decidedAt": self.decided_at}
        return {"userId": str(self.user_id), "names": list(self.names), **keys, **decision}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        names = read_list(fields, "names", MAX_NAMES)
        if not all(isinstance(each, str) and is_name(each) for each in names):
            raise Damaged
        return cls(
            read_id(fields, "userId"),
            tuple(names),
            read_optional(fields, "identityKey", read_key),
            read_flag(fields, "isVerified"),
            read_number(fields, "decidedAt"),
            read_optional(fields, "profileKey", read_key),
        )


@dataclass(frozen=True, slots=True)
class Contacts:
    """Some of the contacts."""

    NAME: ClassVar[str] = "contacts"
    contacts: tuple[Contact, ...]

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        return {"contacts": [each.fields() for each in self.contacts]}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        return cls(read_items(fields, "contacts", Contact.read))


@dataclass(frozen=True, slots=True)
class ConversationsFrame:
    """Some of the conversations."""

    NAME: ClassVar[str] = "conversations"
    conversations: tuple[ArchivedConversation, ...]

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        return {"conversations": [_conversation_fields(each) for each in self.conversations]}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        return cls(read_items(fields, "conversations", _read_conversation))


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of a conversation: a content (the JSON of section 9 of docs/signal-protocol.md) with its sender and its state, a member that was added, or a content that could not be read.

    `ends_at`: when it disappears. `receipts`: of an own content, the state by account.
    """

    event: str
    sender_id: UUID
    device_id: int = 0
    content: str = field(default="", repr=False)
    is_read: bool = False
    is_verified: bool = False
    ends_at: int | None = None
    receipts: Mapping[UUID, str] = field(default_factory=dict)
    message_id: UUID | None = None
    reason: str | None = None

    def fields(self) -> dict[str, Any]:
        """The JSON form: only fields that its event has."""
        sender = {"event": self.event, "senderId": str(self.sender_id)}
        match self.event:
            case "content":
                state = {"endsAt": self.ends_at} if self.ends_at is not None else {}
                receipts = {str(person): each for person, each in self.receipts.items()}
                known = {**state, **({"receipts": receipts} if receipts else {}), "isRead": self.is_read}
                return {**sender, "deviceId": self.device_id, "content": self.content, **known}
            case "memberAdded":
                return {**sender, "isVerified": self.is_verified}
            case _:
                message = {"messageId": str(self.message_id), "reason": self.reason}
                return {**sender, "deviceId": self.device_id, **message}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        event, sender_id = read_word(fields, "event", ENTRY_EVENTS), read_id(fields, "senderId")
        if event == "memberAdded":
            return cls(event, sender_id, is_verified=read_flag(fields, "isVerified"))
        device_id = read_number(fields, "deviceId")
        if event == "unreadable":
            reason = read_text(fields, "reason", _MAX_WORD)
            return cls(event, sender_id, device_id, message_id=read_id(fields, "messageId"), reason=reason)
        return cls(
            event,
            sender_id,
            device_id,
            read_text(fields, "content", MAX_CONTENT),
            read_flag(fields, "isRead"),
            ends_at=read_optional(fields, "endsAt", read_number),
            receipts=_receipts(fields),
        )


@dataclass(frozen=True, slots=True)
class MessagesFrame:
    """Some events of one conversation, which an earlier frame named; oldest first."""

    NAME: ClassVar[str] = "messages"
    conversation_id: UUID
    entries: tuple[Entry, ...]

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        return {"conversationId": str(self.conversation_id), "entries": [each.fields() for each in self.entries]}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        return cls(read_id(fields, "conversationId"), read_items(fields, "entries", Entry.read))


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a sealed file, as the node had it: `data` belongs at `offset` of `size` bytes. Parts of a file follow each other."""

    NAME: ClassVar[str] = "file"
    attachment_id: UUID
    size: int
    offset: int
    data: bytes = field(repr=False)

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        place = {"attachmentId": str(self.attachment_id), "size": self.size, "offset": self.offset}
        return {**place, "data": encode_base64(self.data)}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        size, offset, data = read_number(fields, "size"), read_number(fields, "offset"), read_bytes(fields, "data")
        if not 0 < len(data) <= min(MAX_PART, size - offset):
            raise Damaged
        return cls(read_id(fields, "attachmentId"), size, offset, data)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of conversations: after how many seconds messages disappear."""

    NAME: ClassVar[str] = "settings"
    timers: Mapping[UUID, int]

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        return {"timers": [{"conversationId": str(each), "seconds": seconds} for each, seconds in self.timers.items()]}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        return cls(dict(read_items(fields, "timers", _read_timer)))


@dataclass(frozen=True, slots=True)
class End:
    """The last frame: how many of each there are, and the SHA-256 of all frames before it, each behind its length (4 bytes)."""

    NAME: ClassVar[str] = "end"
    contacts: int
    conversations: int
    messages: int
    files: int
    digest: bytes

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        people = {"contacts": self.contacts, "conversations": self.conversations}
        return {**people, "messages": self.messages, "files": self.files, "digest": encode_base64(self.digest)}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises Damaged."""
        return cls(
            read_number(fields, "contacts"),
            read_number(fields, "conversations"),
            read_number(fields, "messages"),
            read_number(fields, "files"),
            read_key(fields, "digest"),
        )


Frame = Header | AccountFrame | Contacts | ConversationsFrame | MessagesFrame | FilePart | Settings | End
#: In the order of an archive.
FRAME_TYPES: Final[tuple[type[Frame], ...]] = (
    Header,
    AccountFrame,
    Contacts,
    ConversationsFrame,
    MessagesFrame,
    FilePart,
    Settings,
    End,
)
_TYPES: Final = {each.NAME: each for each in FRAME_TYPES}


def pack_frame(frame: Frame) -> bytes:
    """A frame as it is sealed."""
    return orjson.dumps({"frame": frame.NAME, **frame.fields()})


def unpack_frame(packed: bytes) -> Frame:
    """The frame of these bytes. Raises Damaged."""
    try:
        fields = orjson.loads(packed)
    except ValueError:
        raise Damaged from None
    kind = _TYPES.get(read_word(read_object(fields), "frame", tuple(_TYPES)))
    assert kind is not None
    return kind.read(fields)


def _conversation_fields(each: ArchivedConversation) -> dict[str, Any]:
    people = {"userId": None if each.peer is None else str(each.peer), "members": [str(one) for one in each.members]}
    return {"conversationId": str(each.conversation_id), "kind": each.kind, **people, "title": each.title}


def _read_conversation(fields: Fields) -> ArchivedConversation:
    return ArchivedConversation(
        read_id(fields, "conversationId"),
        read_word(fields, "kind", CONVERSATION_KINDS),
        read_optional(fields, "userId", read_id),
        tuple(parse_id(each) for each in read_list(fields, "members", MAX_MEMBERS)),
        read_optional(fields, "title", _title),
    )


def _read_timer(fields: Fields) -> tuple[UUID, int]:
    return read_id(fields, "conversationId"), read_number(fields, "seconds")


def _title(fields: Fields, name: str) -> str:
    return read_text(fields, name, MAX_TITLE)


def _receipts(fields: Fields) -> Mapping[UUID, str]:
    found = read_object(fields.get("receipts", {}))
    if len(found) > MAX_ITEMS:
        raise Damaged
    return {parse_id(person): read_word(found, person, RECEIPT_STATES) for person in found}


def _base64(value: bytes | None) -> str | None:
    return None if value is None else encode_base64(value)
