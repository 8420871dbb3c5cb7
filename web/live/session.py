"""One device's socket.

The life of a session: opened (nothing but hello is taken) -> hello (resumed behind a point that is right) -> closed, for a reason that its close
code names. The reader is the request's own task. Nothing here waits for a device: frames to be sent are put into `outgoing`, and the switchboard's one
delivery loop writes them; what a slow reader does not take stays there, bounded by its window, until it is closed.
"""

import asyncio
from asyncio import WriteTransport
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from vyry.accounts.account import Caller
from vyry.errors import VyryError
from vyry.kernel.ids import MailboxKey, new_id
from vyry.kernel.sizes import MAX_FRAME_BYTES
from vyry.kernel.time import to_milliseconds
from vyry.mail.store import CollectRequest, Entry
from vyry.signals.presence import Watch
from web.live.codec import Codec
from web.live.send_window import SendWindow, content_size
from web.wire.errors import error_body
from web.wire.mailbox import wire_entries


if TYPE_CHECKING:
    from web.live.hub import SocketHub

#: How much one collect takes for one socket.
PAGE_ENTRIES: Final = 128
PAGE_BYTES: Final = 256 << 10
#: An entries frame stays under the frame limit: base64 and the other fields of an entry are counted for.
ENTRIES_FRAME_BYTES: Final = MAX_FRAME_BYTES - 1024
ENTRY_BYTES: Final = 512
#: A reader for whom more frames than this wait is cut off: answers and signals know no window.
OUTGOING_FRAMES: Final = 4_096
#: More than this is not written at once: the rest waits until the transport has passed it on.
WRITE_BYTES: Final = 48 << 10


class CloseCode(IntEnum):
    """Why the node closes a socket."""

    GOING_AWAY = 1001
    BAD_FRAME = 4400
    TOKEN_ENDED = 4401
    SILENT = 4408
    TAKEN_OVER = 4409
    TOO_FAST = 4429
    OVERLOADED = 4503

    @property
    def text(self) -> str:
        """What a close frame says when there is nothing more exact; at most 123 bytes (RFC 6455 section 5.5)."""
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
    """What the node knows of one open socket. Small: thousands of them idle in one process."""

    __slots__ = (
        "caller",
        "close_code",
        "close_reason",
        "codec",
        "connection",
        "drain_target",
        "expires_at",
        "frames_allowed_at",
        "hub",
        "is_behind",
        "is_closing",
        "is_pinged",
        "is_writing",
        "last_heard_at",
        "outgoing",
        "overload_refusals",
        "presence_watch",
        "reader",
        "socket",
        "window",
    )

    def __init__(self, socket: web.WebSocketResponse, caller: Caller, codec: Codec, switchboard: "SocketHub") -> None:
        self.socket = socket
        self.caller = caller
        self.codec = codec
        self.hub = switchboard
        #: Frames, and pages of entries: what expires while it waits must not go out any more.
        self.outgoing: list[bytes | Sequence[Entry]] = []
        #: None until hello was right.
        self.window: SendWindow | None = None
        self.connection = 0
        #: What was the last number at hello, until `drained` was said.
        self.drain_target: int | None = None
        #: There may be more in the mailbox than was sent.
        self.is_behind = False
        self.is_closing = False
        #: What the reader is to close the socket with.
        self.close_code: CloseCode | None = None
        #: What the close frame says besides the code; empty: what the code means.
        self.close_reason = ""
        #: The task that waits for the next frame; None while it is busy with one.
        self.reader: asyncio.Task[object] | None = None
        self.is_pinged = False
        self.is_writing = False
        self.last_heard_at = 0.0
        #: When its frames will be within their rate again, in monotonic seconds.
        self.frames_allowed_at = 0.0
        #: Posts in a row that an overloaded node refused.
        self.overload_refusals = 0
        self.expires_at = caller.expires_at.timestamp()
        #: Whose presence it is told of; None until it asks.
        self.presence_watch: Watch | None = None

    @property
    def mailbox(self) -> MailboxKey:
        """Whose socket this is."""
        return self.caller.mailbox

    def send(self, name: str, payload: object, ref: str | None = None) -> None:
        """Put a frame into what goes out next."""
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
        """Answer a frame with the error body."""
        self.send("refused", error_body(refusal, str(new_id())), ref)

    def collect_request(self) -> CollectRequest | None:
        """What a collect may bring, if anything may be sent at all."""
        if self.window is None or self.is_closing or self.window.is_full:
            return None
        entries, octets = self.window.remaining()
        return (
            CollectRequest(self.mailbox, self.window.sent, min(entries, PAGE_ENTRIES), min(octets, PAGE_BYTES))
            if entries > 0 and octets > 0
            else None
        )

    def deliver_collected(self, entries: Sequence[Entry], asked: CollectRequest) -> None:
        """Deliver what a collect brought, as far as it is new and fits; remember whether there may be more behind it."""
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
        self.is_behind = len(entries) >= asked.max_entries or (bool(entries) and entries[-1].seq > window.sent)
        # A page that stopped at the byte budget is shorter than asked for: the next one tells whether it was the last.
        self.is_behind = self.is_behind or sum(map(content_size, entries)) + (64 << 10) > asked.max_bytes
        if not self.is_behind and self.drain_target is not None:
            # What was acknowledged elsewhere meanwhile is not sent here any more.
            self.drain_target = min(self.drain_target, window.sent)
        self._deliver(fresh)

    def try_deliver(self, entries: Sequence[Entry]) -> bool:
        """Deliver entries that were just deposited here, if they follow on what was sent. False if they have to be collected instead."""
        window = self.window
        if window is None or self.is_behind or entries[0].seq != window.sent + 1:
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

    async def flush(self) -> bool:
        """Write what fits without waiting. False if some is left."""
        written = 0
        while self.outgoing:
            # A large frame could fill the transport, and then its writer waits: that is for nobody who writes for all.
            waiting = self.outgoing[0]
            written += len(waiting) if isinstance(waiting, bytes) else sum(map(_wire_size, waiting))
            if written > WRITE_BYTES:
                return False
            await self.write(self.outgoing.pop(0))
        return True

    async def write(self, waiting: bytes | Sequence[Entry]) -> None:
        """Write one frame; waits while the transport is full."""
        frame = encode_queued(self, waiting)
        try:
            await self.socket.send_frame(frame, WSMsgType.TEXT if self.codec.is_text else WSMsgType.BINARY)
        except (ConnectionError, RuntimeError):
            self.outgoing.clear()


def _wire_size(entry: Entry) -> int:
    """No less than what the entry takes in a frame."""
    return content_size(entry) * 4 // 3 + ENTRY_BYTES


def encode_queued(session: SocketSession, waiting: bytes | Sequence[Entry]) -> bytes:
    """What was put out as it goes out now: an envelope whose life is over meanwhile goes as a loss."""
    if isinstance(waiting, bytes):
        return waiting
    now = to_milliseconds(session.hub.services.clock.confirmed_now())
    shown = wire_entries(waiting, session.codec.encode_bytes, now)
    return session.codec.encode({"type": "entries", "payload": {"entries": shown}})


def buffered_bytes(session: SocketSession) -> int:
    """Bytes written that the other side has not taken yet."""
    transport = _transport(session)
    return transport.get_write_buffer_size() if transport is not None else 0


def abort_connection(session: SocketSession) -> None:
    """Cut the connection, whatever state it is in."""
    session.is_closing = True
    transport = _transport(session)
    if transport is not None:
        transport.abort()


def _transport(session: SocketSession) -> WriteTransport | None:
    request = session.socket._req  # noqa: SLF001  aiohttp names it nowhere else
    return request.transport if request is not None else None
