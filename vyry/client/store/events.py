"""The events that a program receives: each has a `name`, fields, and a `body` ready for JSON (docs/sdk.md). Messages stay in the history, other events until they are handled."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final
from uuid import UUID

from vyry.client.store.packing import pack, unpack
from vyry.kernel.base64_text import encode_base64


_HIDDEN: Final = ("number", "extra")


@dataclass(frozen=True, slots=True)
class Target:
    """A reference to an earlier content and its sender."""

    id: UUID
    sender_id: UUID

    def as_json(self) -> dict[str, str]:
        """The form in contents."""
        return {"id": str(self.id), "senderId": str(self.sender_id)}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A pointer to a sealed file and the key that opens it; `key` and `digest` never go to the node."""

    attachment_id: UUID
    key: bytes = field(repr=False)
    digest: bytes
    size: int
    media_type: str
    file_name: str | None = None
    #: The optional fields of docs/signal-protocol.md section 9 that describe how to show it.
    look: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The form in contents."""
        name = {} if self.file_name is None else {"fileName": self.file_name}
        sealed = {"key": encode_base64(self.key), "digest": encode_base64(self.digest), "size": self.size}
        return {"attachmentId": str(self.attachment_id), **sealed, "mediaType": self.media_type, **name, **self.look}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything that happened. `number` is its number in the journal: the same when it is delivered again after a crash, 0 for an event that is never stored."""

    name: ClassVar[str]
    number: int = field(default=0, compare=False)

    @property
    def body(self) -> dict[str, Any]:
        """The fields in camelCase, without empty ones."""
        known = {
            _camel(each.name): _as_json(getattr(self, each.name)) for each in fields(self) if each.name not in _HIDDEN
        }
        # Unknown fields of the sender come first: they cannot replace a known one.
        return {
            **_as_json(getattr(self, "extra", {})),
            **{name: value for name, value in known.items() if value is not None},
        }

    @property
    def history_conversation_id(self) -> UUID | None:
        """The conversation whose history it belongs to."""
        return None


def _camel(name: str) -> str:
    if name == "of":
        return "target"
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _as_json(value: Any) -> Any:  # noqa: PLR0911  a shape each
    match value:
        case UUID():
            return str(value)
        case bytes():
            return encode_base64(value)
        case Target() | Attachment():
            return value.as_json()
        case tuple() | list():
            return [_as_json(each) for each in value] or None
        case Mapping():
            return {name: _as_json(each) for name, each in value.items()}
        case _:
            return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentEvent(Event):
    """A content of an account. `at` is the sender's clock in ms; `is_own`: an own device sent it."""

    conversation_id: UUID
    sender_id: UUID
    sender_device_id: int
    id: UUID
    at: int
    is_own: bool = False

    @property
    def target(self) -> Target:
        """The reference for replies, edits and reactions."""
        return Target(self.id, self.sender_id)

    @property
    def history_conversation_id(self) -> UUID | None:
        """See Event."""
        return self.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(ContentEvent):
    """A text, with attachments if any. `extra` are fields of newer versions."""

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
    """The sender replaced the text of an earlier message."""

    name: ClassVar[str] = "edit"
    of: Target
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsend(ContentEvent):
    """The sender withdrew an earlier message."""

    name: ClassVar[str] = "unsend"
    of: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction(ContentEvent):
    """An emoji on a content; None removes it."""

    name: ClassVar[str] = "reaction"
    of: Target
    emoji: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Location(ContentEvent):
    """A location: degrees north and east."""

    name: ClassVar[str] = "location"
    latitude: float
    longitude: float
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerSet(ContentEvent):
    """Texts sent in the conversation afterwards disappear so many seconds after they were read; 0 turns that off."""

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
    """Own contents arrived at an account: delivered, read or viewed."""

    name: ClassVar[str] = "receipt"
    conversation_id: UUID
    sender_id: UUID
    sender_device_id: int
    state: str
    targets: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Event):
    """Contents were read on another own device."""

    name: ClassVar[str] = "read"
    conversation_id: UUID
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing(Event):
    """A member started or stopped typing. Never stored."""

    name: ClassVar[str] = "typing"
    conversation_id: UUID
    user_id: UUID
    device_id: int
    is_typing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(Event):
    """A watched friend came online or went offline. Never stored."""

    name: ClassVar[str] = "presence"
    user_id: UUID
    is_online: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """A notice of the node (docs/protocol.md, "Notices"); its `name` there is `notice` here, and `name` in the body."""

    name: ClassVar[str] = "notice"
    notice: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The notice as the node sent it."""
        return {"name": self.notice, **self.extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement(Event):
    """A text of the operator of the node to all devices. It is not encrypted, and no user sent it; `language` is a BCP 47 tag."""

    name: ClassVar[str] = "announcement"
    announcement_id: str
    text: str
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Event):
    """Entries `seq` to `through_seq` of the mailbox are lost; `reason` as the node reports it, or `rolledBack` for an older copy of this store, or `restored` for an older state of the node."""

    name: ClassVar[str] = "lost"
    seq: int
    through_seq: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable(Event):
    """A content could not be opened; `reason` is a refusal of docs/signal-protocol.md, or `resync` when its sender no longer has it. `is_awaited`: it was requested again."""

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
    """An own content was refused, by the node or because of a recipient's keys: `reason` is a code of docs/protocol.md or a refusal of the protocol. `is_kept`: it waits for a decision of the user and is sent afterwards."""

    name: ClassVar[str] = "notSent"
    conversation_id: UUID
    id: UUID
    kind: str
    reason: str
    is_kept: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChanged(Event):
    """The identity key of an account changed: nothing of it is opened and nothing is sent to it until `client.safety.accept`. Repeated after each start until then.

    `waiting`: own messages that are sent after the decision; `held`: its contents that are opened after it; both as of now, and both 0 when it was decided meanwhile.
    """

    name: ClassVar[str] = "identityChanged"
    user_id: UUID
    waiting: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """A person decided on another own device which identity key of an account counts, and whether its number was compared: this applies here too."""

    name: ClassVar[str] = "decided"
    user_id: UUID
    is_verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnIdentityForged(Event):
    """The node shows keys for the own account that its identity key did not sign: nothing is sealed for them and nothing of them is opened. `source`: list, bundle, message or sync."""

    name: ClassVar[str] = "ownIdentityForged"
    source: str
    device_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDeviceAdded(Event):
    """The account has another device, verified under its identity key: it should follow a link that was approved on an own device. Added before anything is sealed for the device."""

    name: ClassVar[str] = "ownDeviceAdded"
    device_id: int
    device_name: str | None = None
    platform: str | None = None
    added_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationForged(Event):
    """The node contradicts the pin of a conversation: a direct one with other members than its peer (`reason` member, `user_ids`), or another kind (`reason` kind). Nothing is sealed or opened there for them."""

    name: ClassVar[str] = "conversationForged"
    conversation_id: UUID
    reason: str
    user_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded(Event):
    """The node reports a new member of a group; added before anything is sealed for them. Members are not signed: the node vouches for who is in a group."""

    name: ClassVar[str] = "memberAdded"
    conversation_id: UUID
    user_id: UUID
    is_verified: bool

    @property
    def history_conversation_id(self) -> UUID | None:
        """See Event."""
        return self.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberForged(Event):
    """An account that is not a member of a group sent a content to it: the content is dropped. `kind` is that of the content."""

    name: ClassVar[str] = "memberForged"
    conversation_id: UUID
    user_id: UUID
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceListDiffers(Event):
    """The two sides see different devices of an account. `seen_by` node: the node lists a device that the account's own devices do not list or its key did not sign; `seen_by` peer: the node hides a device. `device_id` None: unknown which one."""

    name: ClassVar[str] = "deviceListDiffers"
    user_id: UUID
    device_id: int | None = None
    seen_by: str


_STORED_TYPES: Final[dict[str, type[Event]]] = {
    each.name: each
    for each in (
        *(Message, Edit, Unsend, Reaction, Location, TimerSet, Unknown, Receipt, Read),
        *(Notice, Announcement, Lost, Unreadable, NotSent, IdentityChanged, Decided),
        *(OwnIdentityForged, OwnDeviceAdded, ConversationForged, MemberAdded, MemberForged, DeviceListDiffers),
    )
}


def pack_event(event: Event) -> bytes:
    """An event as it is stored."""
    return pack((event.name, pack(event)))


def unpack_event(packed: bytes) -> Event:
    """The event that `pack_event` packed. Raises ValueError for anything else."""
    name, packed = unpack(tuple[str, bytes], packed)
    if name not in _STORED_TYPES:
        raise ValueError(f"no event {name}")
    return unpack(_STORED_TYPES[name], packed)
