"""The names under which the app and a request keep their values, and what a row of the route table is."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from web.route import Route


if TYPE_CHECKING:
    from vyry.accounts.account import Caller
    from vyry.composition.services import Services
    from vyry.limits import Grant
    from vyry.settings.settings import Settings
    from web.live.hub import SocketHub


SETTINGS: web.AppKey["Settings"] = web.AppKey("settings")
SERVICES: web.AppKey["Services"] = web.AppKey("services")
#: The sockets of this process.
SOCKET_HUB: web.AppKey["SocketHub"] = web.AppKey("switchboard")
#: How long a connection may take for what.
TIMEOUTS: web.AppKey["Timeouts"] = web.AppKey("patience")
DOCUMENTS: web.AppKey[Mapping[str, "Document"]] = web.AppKey("documents")
#: Set once the node was told to stop: it finishes what it has and is not ready for more.
DRAINING: web.AppKey[asyncio.Event] = web.AppKey("draining", asyncio.Event)
#: Who asks: set on every route with auth "token" or "socket" before the handler runs.
CALLER: web.RequestKey["Caller"] = web.RequestKey("caller")
#: The id of this request, as in X-Request-Id and in the error body.
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
#: What the limiter granted for this request, by the quota's name; it becomes the RateLimit headers.
GRANTS: web.RequestKey[list[tuple[str, "Grant"]]] = web.RequestKey("grants")
#: The row of the table that this request asks for.
ROUTE: web.RequestKey[Route] = web.RequestKey("route")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """What the node grants a connection, in seconds (docs/protocol.md, "Common rules"); sockets have a `Pace` of their own."""

    #: Until the head of a request is whole, counted from the connection or the answer before.
    request_head: float = 15.0
    #: Until the body is whole; of a body that is taken in pieces, until more of it comes.
    body: float = 10.0
    #: Until 64 KiB more of a body have come that is taken in pieces.
    chunk: float = 30.0
    #: Until some of an answer is taken that piles up.
    stalled_write: float = 30.0
    #: For what is left of a body that nobody wants any more, and for a request that came to a full node.
    linger: float = 2.0
    #: Until TLS is agreed on.
    handshake: float = 10.0


@dataclass(frozen=True, slots=True)
class Document:
    """A page that is the same for everybody; `policy` is its own Content-Security-Policy where it has one."""

    body: bytes
    media_type: str
    policy: str = ""
