"""One connection: how long it may take for what, what becomes of it when there are too many, and its answer to what is no HTTP.

aiohttp 3.14 itself ends a connection whose next head is not whole within the keep-alive time, the first head counted from the accept on. What it lacks
is added here: a head has a size, an answer that nobody takes ends, and a node that is full says so.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web_protocol import RequestHandler

from vyry.errors import InvalidRequest, RateLimited, Unavailable, VyryError
from vyry.ids import new_id
from vyry.limits import party
from vyry.telemetry import log
from web.keys import Patience
from web.middlewares import broken, refused
from web.wire.framing import FrameReader, StrictFrames


if TYPE_CHECKING:
    from aiohttp.http_websocket import WebSocketReader

#: All header lines together; a single one has 8 KiB at most.
HEAD_BYTES: Final = 64 << 10
#: So many connections beyond the limit are told that the node is full; what comes on top is cut.
TOLD: Final = 100
#: And so many of one address beyond its share.
TOLD_EACH: Final = 10
#: When to come back to a node that is full.
RETRY_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Room:
    """How many connections there may be: in all, and of one address or IPv6 /64 that is no trusted proxy (None: no bound)."""

    total: int
    each: int | None = None
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()


class DoorServer(web.Server):
    """Makes a `Door` for each connection, and knows how many there are, in all and of each address."""

    def __init__(self, patience: Patience, room: Room, headers: Mapping[str, str], **more: Any) -> None:
        self.patience = patience
        self._room = room
        self._held: Counter[str] = Counter()
        #: Those that every answer carries.
        self.headers = headers
        super().__init__(**more)

    @property
    def beyond(self) -> int:
        """How many connections there are beyond the limit."""
        return len(self._connections) - self._room.total

    def enter(self, address: str) -> int:
        """Count a connection; answers how many its address holds beyond its share, 0 for the first of them, negative within it."""
        if self._room.each is None or not self._is_counted(address):
            return -1
        held = self._held[party(address)]
        self._held[party(address)] += 1
        return held - self._room.each

    def leave(self, address: str) -> None:
        """A connection has ended: count it off, if it was counted."""
        if not self._is_counted(address):
            return
        key = party(address)
        if self._held[key] > 1:
            self._held[key] -= 1
        else:
            del self._held[key]

    def _is_counted(self, address: str) -> bool:
        if not address:
            return False
        peer = ip_address(address)
        return not any(peer in network for network in self._room.trusted_proxies)

    def __call__(self) -> RequestHandler:
        """A new connection."""
        return Door(self, loop=self._loop, **self._kwargs)


class Door(RequestHandler):
    """One connection of a client."""

    __slots__ = ("_address", "_body", "_head_bytes", "_server", "_stalled")

    def __init__(self, server: DoorServer, **more: Any) -> None:
        super().__init__(server, **more)
        self._server = server
        self._head_bytes = 0
        self._address = ""
        #: Of the request whose head came last, whether a handler has it yet or not.
        self._body: StreamReader = EMPTY_PAYLOAD
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, if there is room."""
        self._address = _peer(transport)
        beyond_share = self._server.enter(self._address)
        if self._server.beyond >= TOLD or beyond_share >= TOLD_EACH:
            cast("asyncio.Transport", transport).abort()
            # No handler was started, so nobody hears of this one again.
            self._manager = None
            return
        if self._server.beyond >= 0 or beyond_share >= 0:
            self._request_handler = self._turn_away if self._server.beyond >= 0 else self._turn_away_address
            self._keepalive_timeout = self._server.patience.rest
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone."""
        self._server.leave(self._address)
        self._forget_stall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that grows without end is no head."""
        super().data_received(data)
        self._note_body()
        while self._upgraded and self._body is not EMPTY_PAYLOAD and self._parser is not None:
            # An upgrade with a body is none. aiohttp 3.14 would keep what follows for ever, depending on how it is cut into pieces.
            self._parser.set_upgraded(False)
            self._upgraded = False
            rest, self._message_tail = self._message_tail, b""
            if not rest:
                break
            super().data_received(rest)
            self._note_body()
        if self._waiter is None or self._waiter.done():
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self.force_close()

    def _note_body(self) -> None:
        if self._messages:
            message, body = self._messages[-1]
            if isinstance(message, RawRequestMessage):
                self._body = body
            else:
                self._break_off()

    def _break_off(self) -> None:
        """What came is no HTTP. Of a body in whose middle it came aiohttp 3.14 tells nobody: its reader is told now, not when its patience ends."""
        bodies = [self._body, *(body for _, body in self._messages)]
        for body in bodies:
            if not body.is_eof():
                body.set_exception(BadHttpMessage("The body breaks off."))
                # The answer to this request is the last one, and nothing more is awaited.
                self._close, self._lingering_time = True, 0.0

    def pause_writing(self) -> None:
        """What was answered piles up: the client has a while to take some of it. Sockets have a time of their own (web/live/delivery.py)."""
        super().pause_writing()
        if not self._upgraded and self.transport is not None:
            self._stalled = self._loop.call_later(self._server.patience.answer, self.transport.abort)

    def resume_writing(self) -> None:
        """It took some."""
        self._forget_stall()
        super().resume_writing()

    def _forget_stall(self) -> None:
        """Nothing piles up."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    async def start(self) -> None:
        """Serve requests until the connection ends. What the client does not take of the last answer is not kept for it for ever."""
        transport = self.transport
        try:
            await super().start()
        finally:
            self._forget_stall()
            if self._manager is not None and transport is not None:
                # It is closing, and not closed.
                self._stalled = self._loop.call_later(self._server.patience.answer, transport.abort)

    def set_parser(self, parser: "WebSocketReader", data_received_cb: Callable[[], None] | None = None) -> None:
        """From now on frames come."""
        strict = StrictFrames(cast("FrameReader", parser))
        super().set_parser(cast("WebSocketReader", strict), data_received_cb)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  aiohttp's signature
    ) -> web.StreamResponse:
        """The answer to a request that never reached a handler; the connection ends with it."""
        if request.writer.output_size > 0:
            raise ConnectionError("The answer was under way when it failed.")
        request_id = str(new_id())
        if status < 500:
            answer = refused(InvalidRequest("This is not the HTTP that the node speaks."), request_id)
        else:
            log.error("broken", request_id=request_id, exc_info=exc)
            answer = broken(request_id)
        return self._farewell(answer, request_id)

    async def _turn_away(self, _: web.BaseRequest) -> web.StreamResponse:
        return self._refused(Unavailable("The node is full.", RETRY_SECONDS))

    async def _turn_away_address(self, _: web.BaseRequest) -> web.StreamResponse:
        return self._refused(RateLimited(RETRY_SECONDS, "Your address holds too many connections."))

    def _refused(self, refusal: VyryError) -> web.Response:
        request_id = str(new_id())
        return self._farewell(refused(refusal, request_id), request_id)

    def _farewell(self, answer: web.Response, request_id: str) -> web.Response:
        farewell = _Farewell(body=answer.body, status=answer.status, headers=answer.headers)
        farewell.headers.update({**self._server.headers, "X-Request-Id": request_id})
        farewell.force_close()
        return farewell


def _peer(transport: asyncio.BaseTransport) -> str:
    """The address of the other side; empty where there is none. An IPv4 address that came through an IPv6 socket is itself."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    address = ip_address(peer[0].partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


class _Farewell(web.Response):
    """aiohttp calls no signal for an answer outside of the application, so this one drops the Server header itself."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)
