"""What a person should know, as values. Each event has a `name` and a `body` ready for JSON (docs/sdk.md); what was said is kept as history, the rest until it is taken."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final
from uuid import UUID

from vyry.client.store.event_values import Attachment, Event, Target
from vyry.client.store.packing import pack, unpack
from vyry.client.store.trust_events import (
    ConversationForged,
    Decided,
    DeviceListDiffers,
    IdentityChanged,
    MemberAdded,
    MemberForged,
    OwnDeviceAdded,
    OwnIdentityForged,
)


__all__ = [
    "Attachment",
    "ContentEvent",
    "ConversationForged",
    "Decided",
    "DeviceListDiffers",
    "Edit",
    "Event",
    "IdentityChanged",
    "Location",
    "Lost",
    "MemberAdded",
    "MemberForged",
    "Message",
    "NotSent",
    "Notice",
    "OwnDeviceAdded",
    "OwnIdentityForged",
    "Presence",
    "Reaction",
    "Read",
    "Receipt",
    "Target",
    "TimerSet",
    "Typing",
    "Unknown",
    "Unreadable",
    "Unsend",
    "pack_event",
    "unpack_event",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentEvent(Event):
    """A content of somebody. `at` is the sender's clock in ms; `is_own` tells what an own device said."""

    conversation_id: UUID
    sender_id: UUID
    sender_device_id: int
    id: UUID
    at: int
    is_own: bool = False

    @property
    def target(self) -> Target:
        """What answers, edits and reactions point at."""
        return Target(self.id, self.sender_id)

    @property
    def history_conversation_id(self) -> UUID | None:
        """See Event."""
        return self.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(ContentEvent):
    """A text, perhaps with files. `extra` are fields of newer versions."""

    name: ClassVar[str] = "message"
    kind: str = "text"
    text: str
    reply_to: Target | None = None
    reply_text: str | None = None
    attachments: tuple[Attachment, ...] = ()
    timer_seconds: int | None = None
    is_view_once: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(ContentEvent):
    """The text of an earlier message of the same person is another one now."""

    name: ClassVar[str] = "edit"
    of: Target
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsend(ContentEvent):
    """An earlier content of the same person shall not be shown any more."""

    name: ClassVar[str] = "unsend"
    of: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction(ContentEvent):
    """An emoji on a content; None takes it back."""

    name: ClassVar[str] = "reaction"
    of: Target
    emoji: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Location(ContentEvent):
    """Where somebody is: degrees north and east."""

    name: ClassVar[str] = "location"
    latitude: float
    longitude: float
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerSet(ContentEvent):
    """From now on what is said here disappears so many seconds after it was read; 0: it stays."""

    name: ClassVar[str] = "timer"
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(ContentEvent):
    """A kind of content that needs a newer version."""

    name: ClassVar[str] = "unknown"
    kind: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Event):
    """Contents of one's own have come to a person: delivered, read or viewed."""

    name: ClassVar[str] = "receipt"
    conversation_id: UUID
    sender_id: UUID
    sender_device_id: int
    state: str
    targets: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Event):
    """These were read on another device of one's own."""

    name: ClassVar[str] = "read"
    conversation_id: UUID
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing(Event):
    """Somebody types, or stopped. Never stored."""

    name: ClassVar[str] = "typing"
    conversation_id: UUID
    user_id: UUID
    device_id: int
    is_typing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(Event):
    """A friend who is watched came or went. Never stored."""

    name: ClassVar[str] = "presence"
    user_id: UUID
    is_online: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """What the node itself says (docs/protocol.md, "Notices"); its `name` there is `notice` here, and `name` in the body."""

    name: ClassVar[str] = "notice"
    notice: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """As the node said it."""
        return {"name": self.notice, **self.extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Event):
    """Entries `seq` to `through_seq` of the mailbox are lost; `reason` as the node tells, or `rolledBack` when this store, or `restored` when the node went back in time."""

    name: ClassVar[str] = "lost"
    seq: int
    through_seq: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable(Event):
    """A content could not be read; `reason` is a refusal of docs/signal-protocol.md, `resync` when its sender has it no more. `is_awaited`: it was asked for again."""

    name: ClassVar[str] = "unreadable"
    conversation_id: UUID
    sender_id: UUID
    sender_device_id: int
    message_id: UUID
    reason: str
    is_awaited: bool = False

    @property
    def history_conversation_id(self) -> UUID | None:
        """See Event."""
        return self.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent(Event):
    """A content of one's own was refused, by the node or for the keys of a recipient: `reason` is a code of docs/protocol.md or a refusal of the protocol. `is_kept`: it waits for a decision of the person here, and goes out afterwards."""

    name: ClassVar[str] = "notSent"
    conversation_id: UUID
    id: UUID
    kind: str
    reason: str
    is_kept: bool | None = None


_STORED: Final[dict[str, type[Event]]] = {
    each.name: each
    for each in (
        *(Message, Edit, Unsend, Reaction, Location, TimerSet, Unknown, Receipt, Read),
        *(Notice, Lost, Unreadable, NotSent, IdentityChanged, Decided),
        *(OwnIdentityForged, OwnDeviceAdded, ConversationForged, MemberAdded, MemberForged, DeviceListDiffers),
    )
}


def pack_event(event: Event) -> bytes:
    """An event as it is kept."""
    return pack((event.name, pack(event)))


def unpack_event(kept: bytes) -> Event:
    """The event that `write_event` wrote. Raises ValueError for anything else."""
    name, packed = unpack(tuple[str, bytes], kept)
    if name not in _STORED:
        raise ValueError(f"no event {name}")
    return unpack(_STORED[name], packed)
