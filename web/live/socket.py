"""GET /ws: the upgrade of one socket, and its service until it closes."""

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from vyry.errors import Forbidden, Unavailable
from vyry.kernel.sizes import MAX_FRAME_BYTES
from vyry.limits import SOCKETS_ACCOUNT
from vyry.telemetry import SOCKETS_CLOSED
from web.app_keys import CALLER, GRANTS, SOCKET_HUB
from web.auth import client_address
from web.live.codec import CODECS, JSON
from web.live.reader import read_frames
from web.live.session import SocketSession
from web.route import Route
from web.wire.shapes import WireModel


class SocketQuery(WireModel):
    """The one-time ticket of a browser, which cannot set headers. For OpenAPI: `authenticate_socket` reads it."""

    ticket: Annotated[str, Field(min_length=1, max_length=128)] | None = None


async def open_socket(request: web.Request) -> web.StreamResponse:
    """Acquire a connection slot, upgrade, then serve frames until either side closes.

    Each idle socket keeps the frame of each coroutine that waits for it, so there are few of them and no generators.
    """
    hub, caller = request.app[SOCKET_HUB], request[CALLER]
    if hub.is_draining:
        raise Unavailable("This node is shutting down.", 1)
    async with hub.services.connection_slots.acquire(caller.user_id, caller.mailbox, client_address(request)) as slot:
        request[GRANTS], slot.grants = list(slot.grants), ()
        session = await _upgrade(request)
        async with hub.track(session, slot):
            code = await read_frames(session)
            SOCKETS_CLOSED.labels("client" if code is None else str(code.value)).inc()
            if code is not None:
                await hub.delivery.close(session, code)
    return session.socket


async def _upgrade(request: web.Request) -> SocketSession:
    # aiohttp rejects frames as long as its limit, the node only longer ones.
    socket = web.WebSocketResponse(
        protocols=tuple(CODECS), autoping=False, compress=False, max_msg_size=MAX_FRAME_BYTES + 1, timeout=3.0
    )
    await socket.prepare(request)
    # The headers are sent, and would take 1 KiB per idle socket.
    socket.headers.clear()
    return SocketSession(socket, request[CALLER], CODECS.get(socket.ws_protocol or "", JSON), request.app[SOCKET_HUB])


SOCKET_ROUTE: Final = Route(
    method="GET",
    path="/api/v1/ws",
    operation="socket.open_socket",
    handler=open_socket,
    summary="Open the socket (see /asyncapi.json)",
    auth="socket",
    query=SocketQuery,
    responses={101: None},
    refusals=(Forbidden,),
    documented_quota=SOCKETS_ACCOUNT,
)
