"""Every frame of the socket: its payload's shape, and one table for both directions (docs/protocol.md, "WebSocket").

The node validates clients' frames with these shapes. It builds its own frames as dicts (web/live), which is faster: for them the shapes are
documentation, and the tests check the frames against it.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from web.wire.errors import Refusal
from web.wire.mailbox import Acknowledge, Acknowledged, Cursor, Entry, Park
from web.wire.messages import Accepted, Post
from web.wire.shapes import Base64Bytes, Count, DeviceNumber, Id, Nothing, Sha256, Timestamp, WireModel


SIGNAL_BYTES = 16 << 10
#: Per frame; a socket watches at most 1,000 users in all (vyry/signals/presence.py).
WATCH_USERS = 200
SignalKind = Literal["offer", "answer", "candidate", "end"]
SignalContent = Annotated[bytes, Base64Bytes(0, SIGNAL_BYTES)]


class Client(WireModel):
    """The client program. The node accepts it and does not read it."""

    name: Annotated[str, Field(max_length=64)]
    version: Annotated[str, Field(max_length=32)]


class Hello(WireModel):
    """The resume point: the last entry that the device has stored, and its head (null at 0)."""

    after: Count
    head: Sha256 | None = None
    client: Client | None = None


class Renew(WireModel):
    """A newer access token of the same device; the socket stays open until it expires."""

    access_token: Annotated[str, Field(min_length=1, max_length=4096)]


class Renewed(WireModel):
    """The new expiry of the socket's token."""

    expires_at: Timestamp


class Typing(WireModel):
    """The caller started or stopped typing."""

    conversation_id: Id
    is_typing: bool


class TypingOf(WireModel):
    """A member started or stopped typing."""

    conversation_id: Id
    user_id: Id
    device_id: DeviceNumber
    is_typing: bool


class Signal(WireModel):
    """Call set-up for connected devices; never stored. Without `deviceId` it goes to all connected devices of the account."""

    user_id: Id
    device_id: DeviceNumber | None = None
    call_id: Id
    kind: SignalKind
    content: SignalContent


class SignalOf(WireModel):
    """Call set-up from another device."""

    user_id: Id
    device_id: DeviceNumber
    call_id: Id
    kind: SignalKind
    content: SignalContent


class Watch(WireModel):
    """Users whose presence the socket subscribes to or unsubscribes from. The node does not reveal which of them exist."""

    user_ids: Annotated[list[Id], Field(max_length=WATCH_USERS)]


class PresenceOf(WireModel):
    """A friend with visible presence came online or went offline."""

    user_id: Id
    is_online: bool


class SocketLimits(WireModel):
    """Size limits that the node enforces."""

    frame_bytes: Count
    content_bytes: Count
    copies: Count


class Welcome(WireModel):
    """The resume point is valid; the entries after it follow.

    `lastMessageId` is the last message accepted from this device: a device that does not know this id runs on an older copy of its state.
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
    """All entries that waited at hello have been sent, up to this sequence number."""

    seq: Count


class Goodbye(WireModel):
    """The node closes this socket soon; reconnect after `retryAfterSeconds`."""

    reason: str
    retry_after_seconds: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Frame:
    """One row of the table. `name` is its `type` on the wire; `replies` names the frames that may answer it."""

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
