"""The HTTP server: time, size and connection limits, and the response to malformed HTTP.

aiohttp 3.14 itself ends a connection whose next headers are not complete within the keep-alive time. This module adds a size limit for all headers together,
an end to responses that the client does not read, and a response from a node at its connection limit. It depends on private members of aiohttp 3.14:
`_messages`, `_upgraded`, `_message_tail`, `_parser`, `_waiter`, `_close`, `_lingering_time`, `_keepalive_timeout`, `_manager`, `_request_handler`.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import EMPTY_PAYLOAD, StreamReader, http_parser, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web_protocol import RequestHandler

from vyry.errors import InvalidRequest, RateLimited, Unavailable, VyryError
from vyry.kernel.ids import new_id
from vyry.limits import network_key
from vyry.telemetry import log
from web.app_keys import PROXIED_ADDRESS, SETTINGS, TIMEOUTS, Timeouts
from web.auth import peer_address
from web.middlewares import (
    error_response,
    internal_error_response,
    security_headers,
)
from web.open_files import connection_capacity
from web.proxy_protocol import BACKLOG, ProxyListener, ProxyTerms, open_listening_sockets
from web.websocket_frames import FrameReader, FrameValidator


if TYPE_CHECKING:
    from aiohttp.http_websocket import WebSocketReader


#: All header lines together; a single one has at most 8 KiB.
MAX_HEAD_BYTES: Final = 64 << 10
#: So many connections beyond the limit get a 503; further ones are aborted.
MAX_REJECTIONS: Final = 100
#: So many connections of one address beyond its share get a 429.
MAX_REJECTIONS_PER_ADDRESS: Final = 10
#: Retry-After of these responses.
RETRY_SECONDS: Final = 5
MAX_HEADER_BYTES: Final = 8190
MAX_HEADERS: Final = 99
#: Seconds for requests under way when the node shuts down.
SHUTDOWN_SECONDS: Final = 10
#: File descriptors other than client connections: pools, logs, rejected connections.
_RESERVED_FILES: Final = 150 + MAX_REJECTIONS


@dataclass(frozen=True, slots=True)
class ConnectionQuota:
    """The maximum of connections in all, and per address or IPv6 /64 that is not a trusted proxy (None: unlimited)."""

    total: int
    per_address: int | None = None
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()


class BoundedServer(web.Server):
    """Creates a `ClientConnection` per connection, and counts connections in all and per address."""

    def __init__(self, timeouts: Timeouts, quota: ConnectionQuota, headers: Mapping[str, str], **more: Any) -> None:
        self.timeouts = timeouts
        self._quota = quota
        self._connections_per_address: Counter[str] = Counter()
        #: Headers of every response.
        self.headers = headers
        super().__init__(**more)

    @property
    def excess(self) -> int:
        """The number of connections beyond the limit."""
        return len(self._connections) - self._quota.total

    def add_connection(self, address: str) -> int:
        """Count a connection. Returns its index beyond the address's share: 0 for the first one beyond, negative within the share."""
        if self._quota.per_address is None or not self._is_counted(address):
            return -1
        count = self._connections_per_address[network_key(address)]
        self._connections_per_address[network_key(address)] += 1
        return count - self._quota.per_address

    def remove_connection(self, address: str) -> None:
        """Stop counting a connection that ended."""
        if not self._is_counted(address):
            return
        key = network_key(address)
        if self._connections_per_address[key] > 1:
            self._connections_per_address[key] -= 1
        else:
            del self._connections_per_address[key]

    def _is_counted(self, address: str) -> bool:
        if not address:
            return False
        peer = ip_address(address)
        return not any(peer in network for network in self._quota.trusted_proxies)

    def __call__(self) -> RequestHandler:
        """A new connection."""
        return self.make_connection("")

    def make_connection(self, proxied_address: str) -> RequestHandler:
        """A new connection of a client whose address a proxy has named; empty for that of the connection itself."""
        return ClientConnection(self, proxied_address, loop=self._loop, **self._kwargs)


class ClientConnection(RequestHandler):
    """One connection of a client."""

    __slots__ = ("_address", "_body", "_head_bytes", "_server", "_stall_timer", "proxied_address")

    def __init__(self, server: BoundedServer, proxied_address: str = "", **more: Any) -> None:
        super().__init__(server, **more)
        #: From the PROXY header; empty without one.
        self.proxied_address = proxied_address
        self._server = server
        self._head_bytes = 0
        self._address = ""
        #: The body of the latest request, whether its handler has started or not.
        self._body: StreamReader = EMPTY_PAYLOAD
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection; beyond a limit, answer with an error or abort it."""
        self._address = self.proxied_address or peer_address(transport)
        beyond_share = self._server.add_connection(self._address)
        if self._server.excess >= MAX_REJECTIONS or beyond_share >= MAX_REJECTIONS_PER_ADDRESS:
            cast("asyncio.Transport", transport).abort()
            # No handler started: without a manager, aiohttp's connection_lost does nothing.
            self._manager = None
            return
        if self._server.excess >= 0 or beyond_share >= 0:
            self._request_handler = self._reject_node_full if self._server.excess >= 0 else self._reject_address_full
            self._keepalive_timeout = self._server.timeouts.linger
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count the connection off."""
        self._server.remove_connection(self._address)
        self._cancel_stall_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; close a connection whose headers exceed MAX_HEAD_BYTES."""
        super().data_received(data)
        self._track_body()
        while self._upgraded and self._body is not EMPTY_PAYLOAD and self._parser is not None:
            # An upgrade request with a body is invalid. aiohttp 3.14 would buffer the bytes behind it without end, depending on how they are split.
            self._parser.set_upgraded(False)
            self._upgraded = False
            rest, self._message_tail = self._message_tail, b""
            if not rest:
                break
            super().data_received(rest)
            self._track_body()
        if self._waiter is None or self._waiter.done():
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.force_close()

    def _track_body(self) -> None:
        if self._messages:
            message, body = self._messages[-1]
            if isinstance(message, RawRequestMessage):
                self._body = body
            else:
                self._fail_bodies()

    def _fail_bodies(self) -> None:
        """Fail the bodies being read: the bytes are not HTTP. aiohttp 3.14 does not, so their readers would wait for the timeout."""
        bodies = [self._body, *(body for _, body in self._messages)]
        for body in bodies:
            if not body.is_eof():
                body.set_exception(BadHttpMessage("The body is incomplete."))
                # The response to this request is the last one of the connection.
                self._close, self._lingering_time = True, 0.0

    def pause_writing(self) -> None:
        """The client does not read: start the stall timer. Sockets have their own limit (web/live/delivery.py)."""
        super().pause_writing()
        if not self._upgraded and self.transport is not None:
            self._stall_timer = self._loop.call_later(self._server.timeouts.stalled_write, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again: stop the timer."""
        self._cancel_stall_timer()
        super().resume_writing()

    def _cancel_stall_timer(self) -> None:
        """Stop the stall timer."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    async def start(self) -> None:
        """Serve requests until the connection ends. A last response that the client does not read is dropped after the stall time."""
        transport = self.transport
        try:
            await super().start()
        finally:
            self._cancel_stall_timer()
            if self._manager is not None and transport is not None:
                # The transport is closing, but has unsent bytes.
                self._stall_timer = self._loop.call_later(self._server.timeouts.stalled_write, transport.abort)

    def set_parser(self, parser: "WebSocketReader", data_received_cb: Callable[[], None] | None = None) -> None:
        """Switch to WebSocket frames, validated by `FrameValidator`."""
        strict = FrameValidator(cast("FrameReader", parser))
        super().set_parser(cast("WebSocketReader", strict), data_received_cb)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  aiohttp's signature
    ) -> web.StreamResponse:
        """The response to a request that never reached a handler; the connection ends with it."""
        if request.writer.output_size > 0:
            raise ConnectionError("The response had already started.")
        request_id = str(new_id())
        if status < 500:
            response = error_response(InvalidRequest("Malformed HTTP request."), request_id)
        else:
            log.error("unhandled_error", request_id=request_id, exc_info=exc)
            response = internal_error_response(request_id)
        return self._closing_response(response, request_id)

    async def _reject_node_full(self, _: web.BaseRequest) -> web.StreamResponse:
        return self._reject(Unavailable("The node has reached its connection limit.", RETRY_SECONDS))

    async def _reject_address_full(self, _: web.BaseRequest) -> web.StreamResponse:
        return self._reject(RateLimited(RETRY_SECONDS, "Too many connections from your address."))

    def _reject(self, refusal: VyryError) -> web.Response:
        request_id = str(new_id())
        return self._closing_response(error_response(refusal, request_id), request_id)

    def _closing_response(self, response: web.Response, request_id: str) -> web.Response:
        closing = _ClosingResponse(body=response.body, status=response.status, headers=response.headers)
        closing.headers.update({**self._server.headers, "X-Request-Id": request_id})
        closing.force_close()
        return closing


class _ClosingResponse(web.Response):
    """A response outside of the application. aiohttp runs no on_response_prepare for it, so it removes the Server header itself."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


@asynccontextmanager
async def serve_app(
    app: web.Application,
    hosts: str | Sequence[str],
    port: int,
    *,
    reuse_port: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve `app` as `open_listeners` does; yields the port."""
    async with open_listeners(app, hosts, port, reuse_port=reuse_port, tls=tls) as runner:
        yield runner.addresses[0][1]


@asynccontextmanager
async def open_listeners(
    app: web.Application,
    hosts: str | Sequence[str],
    port: int,
    *,
    reuse_port: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator["BoundedRunner"]:
    """Serve `app` on these addresses, over TLS only if `tls` is given; port 0 picks a free one (for one address). Requests under way finish at the end."""
    async with AsyncExitStack() as stack:
        runner = BoundedRunner(app)
        if app[SETTINGS].proxy_protocol == "v2":
            runner.tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(runner.abort_waiting)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        for host in (hosts,) if isinstance(hosts, str) else hosts:
            await _BoundedSite(runner, host, port, reuse_port=reuse_port, backlog=BACKLOG, ssl_context=tls).start()
        yield runner


class BoundedRunner(web.AppRunner):
    """Runs an application with the node's time and size limits, over `ClientConnection`s.

    A client that disconnects does not cancel its handler (aiohttp's default): an interrupted commit would have an unknown outcome.
    """

    def __init__(self, app: web.Application) -> None:
        if not http_parser.HttpRequestParser.__module__.endswith("._http_parser"):
            raise RuntimeError("aiohttp runs without its C parser; the node relies on its strictness")
        self.timeouts = app.get(TIMEOUTS) or Timeouts()
        #: Of the listeners for connections with a PROXY header; None where that is off.
        self.tasks: asyncio.TaskGroup | None = None
        self.proxy_listeners: list[ProxyListener] = []
        super().__init__(
            app,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
            access_log=None,
            keepalive_timeout=self.timeouts.request_head,
            lingering_time=self.timeouts.linger,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
        )

    def abort_waiting(self) -> None:
        """Close the connections whose PROXY header is not complete."""
        for each in self.proxy_listeners:
            each.abort_waiting()

    async def stop_listening(self) -> None:
        """Refuse new connections; open ones are served as before. A balancer then tries another node at once."""
        for site in list(self.sites):
            await site.stop()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        settings = self.app[SETTINGS]

        def make_request(
            message: RawRequestMessage, body: StreamReader, connection: ClientConnection, *more: Any
        ) -> Any:
            request = server.request_factory(message, body, connection, *more)
            if connection.proxied_address:
                request[PROXIED_ADDRESS] = connection.proxied_address
            return request

        return BoundedServer(
            self.timeouts,
            ConnectionQuota(
                connection_capacity(settings.max_connections, _RESERVED_FILES),
                settings.max_connections_address if settings.limits == "on" else None,
                settings.trusted_proxies,
            ),
            security_headers(settings.env),
            handler=server.request_handler,
            request_factory=make_request,
            loop=asyncio.get_running_loop(),
            debug=False,
            **self._kwargs,
        )


class _BoundedSite(web.TCPSite):
    """Sets the timeout of a TLS handshake; asyncio's default is a minute."""

    async def start(self) -> None:
        await web.BaseSite.start(self)
        server, runner = self._runner.server, self._runner
        assert server is not None
        assert isinstance(runner, BoundedRunner)
        if runner.tasks is not None:
            terms = ProxyTerms(
                trusted=runner.app[SETTINGS].trusted_proxies,
                make_protocol=cast("BoundedServer", server).make_connection,
                tls=self._ssl_context,
                seconds=runner.timeouts.handshake,
            )
            opened = await open_listening_sockets(self._host, self._port, reuse_port=bool(self._reuse_port))
            listener = ProxyListener(opened, terms, runner.tasks)
            runner.proxy_listeners.append(listener)
            self._server = cast("asyncio.AbstractServer", listener)
            return
        self._server = await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=runner.timeouts.handshake if self._ssl_context else None,
            backlog=self._backlog,
            reuse_port=self._reuse_port,
        )
