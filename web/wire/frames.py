"""Every frame of the socket: its payload's shape and the one table of both directions (docs/protocol.md, "WebSocket")."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from web.wire.errors import Refusal
from web.wire.mailbox import Acknowledge, Acknowledged, Cursor, Entry, Park
from web.wire.messages import Accepted, Post
from web.wire.shapes import Base64Bytes, Count, DeviceNumber, Id, Nothing, Sha256, Timestamp, WireModel


SIGNAL_BYTES = 16 << 10
#: Of one frame; a socket watches 1,000 in all (vyry/signals/presence.py).
WATCH_USERS = 200
SignalKind = Literal["offer", "answer", "candidate", "end"]
SignalContent = Annotated[bytes, Base64Bytes(0, SIGNAL_BYTES)]


class Client(WireModel):
    """The client program. The node accepts it and does not read it."""

    name: Annotated[str, Field(max_length=64)]
    version: Annotated[str, Field(max_length=32)]


class Hello(WireModel):
    """The resume point: the last entry that is safe with the device, and its head (null at 0)."""

    after: Count
    head: Sha256 | None = None
    client: Client | None = None


class Renew(WireModel):
    """A newer access token of the same device, so that the socket outlives the old one."""

    access_token: Annotated[str, Field(min_length=1, max_length=4096)]


class Renewed(WireModel):
    """When the socket's token ends now."""

    expires_at: Timestamp


class Typing(WireModel):
    """The caller types, or no longer."""

    conversation_id: Id
    is_typing: bool


class TypingOf(WireModel):
    """Somebody types, or no longer."""

    conversation_id: Id
    user_id: Id
    device_id: DeviceNumber
    is_typing: bool


class Signal(WireModel):
    """Call set-up for whoever is there: never stored. Without `deviceId` it goes to all connected devices of the account."""

    user_id: Id
    device_id: DeviceNumber | None = None
    call_id: Id
    kind: SignalKind
    content: SignalContent


class SignalOf(WireModel):
    """Call set-up from somebody."""

    user_id: Id
    device_id: DeviceNumber
    call_id: Id
    kind: SignalKind
    content: SignalContent


class Watch(WireModel):
    """Whose presence the socket wants to be told of, or no longer. There is no telling from the answers who of them are people at all."""

    user_ids: Annotated[list[Id], Field(max_length=WATCH_USERS)]


class PresenceOf(WireModel):
    """A friend who shows it is there, or no longer."""

    user_id: Id
    is_online: bool


class SocketLimits(WireModel):
    """Sizes that this node holds clients to."""

    frame_bytes: Count
    content_bytes: Count
    copies: Count


class Welcome(WireModel):
    """The resume point was right; what follows it comes now.

    `lastMessageId` is the last message accepted from this device: one that it does not know shows that it works with an older copy of its state.
    """

    user_id: Id
    device_id: DeviceNumber
    mailbox_id: Id
    last_message_id: Id | None
    cursor: Cursor
    window_entries: Count
    window_bytes: Count
    heartbeat_seconds: Count
    limits: SocketLimits


class Entries(WireModel):
    """Entries in order."""

    entries: list[Entry]


class Drained(WireModel):
    """What was waiting at hello has been sent, up to this number."""

    seq: Count


class Goodbye(WireModel):
    """The node closes this socket soon; come back after so many seconds."""

    reason: str
    retry_after_seconds: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Frame:
    """One row of the table. `name` is its `type` on the wire; `answers` names the frames that may answer it."""

    name: str
    sender: Literal["client", "node"]
    payload: type[BaseModel]
    summary: str
    replies: tuple[str, ...] = ()


FRAMES: Final[tuple[Frame, ...]] = (
    Frame("hello", "client", Hello, "The first frame, within 10 s: where to resume", ("welcome", "refused")),
    Frame("renew", "client", Renew, "Keep the socket beyond the end of its token", ("renewed", "refused")),
    Frame("post", "client", Post, "The same as POST /messages", ("accepted", "refused")),
    Frame(
        "acknowledge", "client", Acknowledge, "Entries up to here are stored on the device", ("acknowledged", "refused")
    ),
    Frame("park", "client", Park, "Discard one entry that the device cannot process", ("parked", "refused")),
    Frame("typing", "client", Typing, "Typing state for the connected members of a conversation", ("refused",)),
    Frame("signal", "client", Signal, "Call set-up for the connected devices of an account", ("refused",)),
    Frame("watch", "client", Watch, "Send presence updates for these friends", ("refused",)),
    Frame("unwatch", "client", Watch, "Stop presence updates for these friends", ("refused",)),
    Frame("ping", "client", Nothing, "Liveness check", ("pong",)),
    Frame("welcome", "node", Welcome, "The socket is open from the resume point on"),
    Frame("entries", "node", Entries, "The next entries, within the unacknowledged window"),
    Frame("drained", "node", Drained, "Sent once: everything that waited at hello has been sent"),
    Frame("accepted", "node", Accepted, "The post is durable"),
    Frame("acknowledged", "node", Acknowledged, "The acknowledged point"),
    Frame("parked", "node", Nothing, "The entry was discarded"),
    Frame("renewed", "node", Renewed, "The new token's expiry now applies to the socket"),
    Frame("refused", "node", Refusal, "The frame was not carried out; the payload is an error body"),
    Frame("pong", "node", Nothing, "The answer to ping"),
    Frame("typing", "node", TypingOf, "A member types"),
    Frame("signal", "node", SignalOf, "Call set-up from another device"),
    Frame("presence", "node", PresenceOf, "A friend is online, or not"),
    Frame("goodbye", "node", Goodbye, "Before a planned close"),
)
