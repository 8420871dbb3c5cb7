"""One device's socket.

A session is open (only hello is accepted), then resumed (hello named a valid resume point), then closed with a close code. The request's own task reads.
Nothing here waits for a device: frames go into `outgoing`, and the hub's one delivery loop writes them. Frames that a slow client does not read stay
there, bounded by the send window, until the client is disconnected.

Fields are written by the reader, except these: the delivery loop writes `is_writing` and `close_code`; collector, hub and session write `may_have_entries`;
the hub's liveness check sets `is_pinged` and the reader clears it; every part that ends the session sets `is_closing`.
"""

import asyncio
import time
from asyncio import WriteTransport
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from vyry.accounts.account import Caller
from vyry.errors import VyryError
from vyry.kernel.ids import MailboxKey, new_id
from vyry.kernel.sizes import MAX_CONTENT_BYTES, MAX_FRAME_BYTES
from vyry.kernel.time import to_milliseconds
from vyry.mail.routing import SocketDetails
from vyry.mail.store import CollectRequest, Entry
from vyry.signals.presence import Watch
from web.live.codec import Codec
from web.live.send_window import WINDOW_ENTRIES, SendWindow, content_size
from web.websocket_frames import write_frame
from web.wire.errors import error_body
from web.wire.mailbox import wire_entries


if TYPE_CHECKING:
    from web.live.hub import SocketHub

#: Limits of one collect for one socket.
PAGE_ENTRIES: Final = 128
PAGE_BYTES: Final = 256 << 10
#: An entries frame stays below the frame limit. Base64 and an entry's other fields (ENTRY_BYTES) are included.
ENTRIES_FRAME_BYTES: Final = MAX_FRAME_BYTES - 1024
ENTRY_BYTES: Final = 512
#: A client with more waiting frames is disconnected: the window does not bound responses and signals.
OUTGOING_FRAMES: Final = 4_096
#: At most so many bytes are written at once; the rest waits until the transport has sent them.
WRITE_BYTES: Final = 48 << 10


class CloseCode(IntEnum):
    """The close codes that the node uses."""

    GOING_AWAY = 1001
    BAD_FRAME = 4400
    TOKEN_ENDED = 4401
    SILENT = 4408
    TAKEN_OVER = 4409
    TOO_FAST = 4429
    OVERLOADED = 4503

    @property
    def text(self) -> str:
        """The reason of the close frame unless a more exact one is set; at most 123 bytes (RFC 6455 section 5.5)."""
        return _CLOSE_TEXTS[self]


_CLOSE_TEXTS: Final = {
    CloseCode.GOING_AWAY: "the node is shutting down; reconnect after goodbye.retryAfterSeconds",
    CloseCode.BAD_FRAME: "malformed frame",
    CloseCode.TOKEN_ENDED: "the access token has ended: refresh, then connect again",
    CloseCode.SILENT: "no frame and no pong from the device",
    CloseCode.TAKEN_OVER: "another connection of this device took over",
    CloseCode.TOO_FAST: "more frames than the rate allows",
    CloseCode.OVERLOADED: "the node is overloaded; reconnect later",
}


class SocketSession:
    """The state of one open socket. Small, because thousands are idle in one process."""

    __slots__ = (
        "caller",
        "close_code",
        "close_reason",
        "codec",
        "connection",
        "delivered_at",
        "drain_target",
        "expires_at",
        "frames_allowed_at",
        "hub",
        "is_closing",
        "is_pinged",
        "is_writing",
        "last_heard_at",
        "may_have_entries",
        "outgoing",
        "overload_refusals",
        "presence_watch",
        "reader",
        "socket",
        "window",
    )

    def __init__(self, socket: web.WebSocketResponse, caller: Caller, codec: Codec, hub: "SocketHub") -> None:
        self.socket = socket
        self.caller = caller
        self.codec = codec
        self.hub = hub
        #: Encoded frames, and pages of entries: those are encoded when written, so that an envelope that expires meanwhile is not sent.
        self.outgoing: list[bytes | Sequence[Entry]] = []
        #: None until a valid hello.
        self.window: SendWindow | None = None
        self.connection = 0
        #: The last sequence number at hello; None once `drained` was sent.
        self.drain_target: int | None = None
        #: The mailbox may have entries that were not sent.
        self.may_have_entries = False
        self.is_closing = False
        #: The code that the reader must close the socket with.
        self.close_code: CloseCode | None = None
        #: The reason of the close frame; empty for the code's text.
        self.close_reason = ""
        #: The task that waits for the next frame; None while it handles one.
        self.reader: asyncio.Task[object] | None = None
        self.is_pinged = False
        self.is_writing = False
        self.last_heard_at = 0.0
        #: The monotonic second in which the last page of entries was written; None before the first.
        self.delivered_at: float | None = None
        #: The monotonic second from which a frame is within the rate.
        self.frames_allowed_at = 0.0
        #: Consecutive posts that the overloaded node rejected.
        self.overload_refusals = 0
        self.expires_at = caller.expires_at.timestamp()
        #: The watched users' presence; None until the first watch.
        self.presence_watch: Watch | None = None

    @property
    def mailbox(self) -> MailboxKey:
        """The mailbox of the socket's device."""
        return self.caller.mailbox

    def send(self, name: str, payload: object, ref: str | None = None) -> None:
        """Queue a frame."""
        if self.is_closing:
            return
        frame = {"type": name, "payload": payload} if ref is None else {"type": name, "ref": ref, "payload": payload}
        self._enqueue(self.codec.encode(frame))

    def _enqueue(self, waiting: bytes | Sequence[Entry]) -> None:
        if self.is_closing:
            return
        if len(self.outgoing) >= OUTGOING_FRAMES:
            self.outgoing.clear()
            abort_connection(self)
            return
        self.outgoing.append(waiting)
        self.hub.delivery.schedule_write(self)

    def send_refusal(self, refusal: VyryError, ref: str) -> None:
        """Queue the error response to a frame."""
        self.send("refused", error_body(refusal, str(new_id())), ref)

    def collect_request(self) -> CollectRequest | None:
        """The request for the next collect; None if nothing may be sent."""
        if self.window is None or self.is_closing or self.window.is_full:
            return None
        entries, octets = self.window.remaining()
        return (
            CollectRequest(self.mailbox, self.window.sent, min(entries, PAGE_ENTRIES), min(octets, PAGE_BYTES))
            if entries > 0 and octets > 0
            else None
        )

    def deliver_collected(self, entries: Sequence[Entry], request: CollectRequest) -> None:
        """Queue the collected entries that are new and fit the window, and note whether the mailbox may have more."""
        window = self.window
        if window is None:
            return
        fresh: list[Entry] = []
        for entry in entries:
            if entry.seq <= window.sent:
                continue
            if not window.fits(content_size(entry)):
                window.is_full = True
                break
            window.push(entry)
            fresh.append(entry)
        self.may_have_entries = (
            len(entries) >= request.max_entries
            or (bool(entries) and entries[-1].seq > window.sent)
            # A page that reached the byte limit may be short: the next one shows whether it was the last.
            or sum(map(content_size, entries)) + MAX_CONTENT_BYTES > request.max_bytes
        )
        if not self.may_have_entries and self.drain_target is not None:
            # Entries that were acknowledged elsewhere meanwhile are not sent here.
            self.drain_target = min(self.drain_target, window.sent)
        self._deliver(fresh)

    def try_deliver(self, entries: Sequence[Entry]) -> bool:
        """Queue entries that this node just deposited, if they directly follow the last sent one. False if they must be collected instead."""
        window = self.window
        if window is None or self.may_have_entries or entries[0].seq != window.sent + 1:
            return False
        if (
            not all(entry.packed is not None for entry in entries)
            or not window.fits(sum(map(content_size, entries)))
            or len(entries) > window.remaining()[0]
        ):
            return False
        for entry in entries:
            window.push(entry)
        self._deliver(entries)
        return True

    def _deliver(self, entries: Sequence[Entry]) -> None:
        page: list[Entry] = []
        size = 0
        for entry in entries:
            octets = _wire_size(entry)
            if page and size + octets > ENTRIES_FRAME_BYTES:
                self._enqueue(page)
                page, size = [], 0
            page.append(entry)
            size += octets
        if page:
            self._enqueue(page)
        self._send_drained()

    def _send_drained(self) -> None:
        if self.drain_target is not None and self.window is not None and self.window.sent >= self.drain_target:
            self.send("drained", {"seq": self.window.sent})
            self.drain_target = None

    def flush(self) -> bool:
        """Write the frames that fit without waiting, in one write. False if some are left."""
        transport = _transport(self)
        if self.socket.closed or transport is None or transport.is_closing():
            self.outgoing.clear()
            return True
        size = count = 0
        for waiting in self.outgoing:
            # A large frame could fill the transport, and its writer would have to wait.
            size += len(waiting) if isinstance(waiting, bytes) else sum(map(_wire_size, waiting))
            if size > WRITE_BYTES:
                break
            count += 1
        ready, self.outgoing[:count] = self.outgoing[:count], ()
        is_text = self.codec.is_text
        if ready:
            transport.write(b"".join([write_frame(encode_queued(self, each), is_text=is_text) for each in ready]))
        return not self.outgoing

    async def write(self, waiting: bytes | Sequence[Entry]) -> None:
        """Write one frame; waits while the transport is full."""
        frame = encode_queued(self, waiting)
        try:
            await self.socket.send_frame(frame, WSMsgType.TEXT if self.codec.is_text else WSMsgType.BINARY)
        except (ConnectionError, RuntimeError):
            self.outgoing.clear()


def _wire_size(entry: Entry) -> int:
    """An upper bound of the entry's size in a frame."""
    return content_size(entry) * 4 // 3 + ENTRY_BYTES


def encode_queued(session: SocketSession, waiting: bytes | Sequence[Entry]) -> bytes:
    """The bytes of a queued item; an envelope that has expired since becomes a loss."""
    if isinstance(waiting, bytes):
        return waiting
    now = to_milliseconds(session.hub.services.clock.confirmed_now())
    session.delivered_at = time.monotonic()
    shown = wire_entries(waiting, now)
    return session.codec.encode({"type": "entries", "payload": {"entries": shown}})


def buffered_bytes(session: SocketSession) -> int:
    """Written bytes that the client has not read yet."""
    transport = _transport(session)
    return transport.get_write_buffer_size() if transport is not None else 0


def describe_session(session: SocketSession) -> SocketDetails:
    """What the operator sees of this socket."""
    window, now = session.window, time.monotonic()
    return SocketDetails(
        connection=session.connection,
        sent_seq=window.sent if window else 0,
        unacknowledged=WINDOW_ENTRIES - window.remaining()[0] if window else 0,
        is_window_full=window is not None and (window.is_full or window.remaining()[0] <= 0),
        waiting_frames=len(session.outgoing),
        unread_bytes=buffered_bytes(session),
        seconds_since_delivery=None if session.delivered_at is None else round(now - session.delivered_at, 3),
        seconds_since_heard=round(now - session.last_heard_at, 3),
    )


def abort_connection(session: SocketSession) -> None:
    """Abort the connection in any state."""
    session.is_closing = True
    transport = _transport(session)
    if transport is not None:
        transport.abort()


def _transport(session: SocketSession) -> WriteTransport | None:
    request = session.socket._req  # noqa: SLF001  aiohttp has no public name for it
    return request.transport if request is not None else None
