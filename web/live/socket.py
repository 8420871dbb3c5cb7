"""GET /ws: the upgrade, and the life of one socket."""

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from vyry.errors import Forbidden, Unavailable
from vyry.kernel.sizes import MAX_FRAME_BYTES
from vyry.limits import SOCKETS_ACCOUNT
from vyry.signals.socket_quotas import ConnectionSlot
from web.app_keys import CALLER, GRANTS, SOCKET_HUB
from web.auth import client_address
from web.live.codec import CODECS, JSON
from web.live.reader import read_frames
from web.live.session import SocketSession
from web.route import Route
from web.wire.shapes import WireModel


class SocketQuery(WireModel):
    """A browser, which can set no header, names its ticket."""

    ticket: Annotated[str, Field(min_length=1, max_length=128)] | None = None


async def open_socket(request: web.Request) -> web.StreamResponse:
    """Find a place for one more socket, upgrade, then serve frames until either side closes."""
    switchboard, caller = request.app[SOCKET_HUB], request[CALLER]
    if switchboard.is_draining:
        raise Unavailable("This node is shutting down.", 1)
    async with switchboard.services.connection_slots.acquire(
        caller.user_id, caller.mailbox, client_address(request)
    ) as place:
        request[GRANTS], place.grants = list(place.grants), ()
        return await _serve_socket(request, place)


async def _serve_socket(request: web.Request, place: ConnectionSlot) -> web.WebSocketResponse:
    switchboard = request.app[SOCKET_HUB]
    # aiohttp refuses what is as long as its limit, we what is longer.
    socket = web.WebSocketResponse(
        protocols=tuple(CODECS), autoping=False, compress=False, max_msg_size=MAX_FRAME_BYTES + 1, timeout=3.0
    )
    await socket.prepare(request)
    # They are sent, and an idle socket need not remember them: they weigh 1 KiB.
    socket.headers.clear()
    codec = CODECS.get(socket.ws_protocol or "", JSON)
    session = SocketSession(socket, request[CALLER], codec, switchboard)
    async with switchboard.track(session, place):
        code = await read_frames(session)
        if code is not None:
            await switchboard.delivery.close(session, code)
    return socket


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
