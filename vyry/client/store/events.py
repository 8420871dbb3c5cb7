"""What a person should know, as values. Each event has a `name` and a `body` ready for JSON (docs/sdk.md); what was said is kept as history, the rest until it is taken."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final
from uuid import UUID

from vyry.client.store.packing import pack, unpack
from vyry.kernel.base64_text import encode_base64


_HIDDEN: Final = ("number", "extra")


@dataclass(frozen=True, slots=True)
class Target:
    """An earlier content, whoever said it."""

    id: UUID
    sender_id: UUID

    def as_json(self) -> dict[str, str]:
        """As contents have it."""
        return {"id": str(self.id), "senderId": str(self.sender_id)}


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where a sealed file lies and what opens it; `key` and `digest` never go to the node."""

    attachment_id: UUID
    key: bytes = field(repr=False)
    digest: bytes
    size: int
    media_type: str
    file_name: str | None = None
    #: The optional fields of docs/signal-protocol.md section 9 that say how to show it.
    look: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As contents have it."""
        name = {} if self.file_name is None else {"fileName": self.file_name}
        sealed = {"key": encode_base64(self.key), "digest": encode_base64(self.digest), "size": self.size}
        return {"attachmentId": str(self.attachment_id), **sealed, "mediaType": self.media_type, **name, **self.look}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything that happened. `number` is its place in the store: the same when it comes again after a crash, 0 for what is never stored."""

    name: ClassVar[str]
    number: int = field(default=0, compare=False)

    @property
    def body(self) -> dict[str, Any]:
        """Its fields in camelCase, without those that say nothing."""
        told = {
            _camel(each.name): _as_json(getattr(self, each.name)) for each in fields(self) if each.name not in _HIDDEN
        }
        # What others made up stands behind what is known: no field of theirs takes the place of one of these.
        return {
            **_as_json(getattr(self, "extra", {})),
            **{name: value for name, value in told.items() if value is not None},
        }

    @property
    def history_conversation_id(self) -> UUID | None:
        """The conversation to whose history it belongs."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChanged(Event):
    """Somebody has another identity key: nothing of theirs is opened, and nothing sent, until `client.safety.accept`. Said again after each start while it is so.

    `waiting`: own messages that go out after the decision; `held`: contents of theirs that are opened after it; both as of now. Both 0 when it was decided meanwhile.
    """

    name: ClassVar[str] = "identityChanged"
    user_id: UUID
    waiting: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """A person decided on another own device which identity key of an account counts, and whether its number was compared: it counts here too."""

    name: ClassVar[str] = "decided"
    user_id: UUID
    is_verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnIdentityForged(Event):
    """The node shows keys for one's own account that the own identity key did not sign: nothing is sealed for them, nothing of them is believed. `source`: list, bundle, message or sync."""

    name: ClassVar[str] = "ownIdentityForged"
    source: str
    device_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDeviceAdded(Event):
    """The account has another device, verified under the own identity key. It should follow a link that was approved on one of one's devices; added before anything is sealed for it."""

    name: ClassVar[str] = "ownDeviceAdded"
    device_id: int
    device_name: str | None = None
    platform: str | None = None
    added_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationForged(Event):
    """The node changes what cannot change of a conversation: a direct one has other members than the pinned peer (`reason` member, `user_ids`), or the kind is another (`reason` kind). Nothing is sealed or opened there for them."""

    name: ClassVar[str] = "conversationForged"
    conversation_id: UUID
    reason: str
    user_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded(Event):
    """The node says that a group has another member; added before anything is sealed for them. Until members are signed for, the node vouches for who is in a group."""

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
    """An account that is not a member of a group sent a content for it: nothing of it is believed. `kind` is that of the content."""

    name: ClassVar[str] = "memberForged"
    conversation_id: UUID
    user_id: UUID
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceListDiffers(Event):
    """One side does not see a device of an account: `seen_by` node (the node lists it, the account's own devices do not, or its key did not sign it) or peer (the node hides it). `device_id` None: which one is not known."""

    name: ClassVar[str] = "deviceListDiffers"
    user_id: UUID
    device_id: int | None = None
    seen_by: str


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
