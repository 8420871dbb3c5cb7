"""The keys of the values that an application and a request keep, and the types of those values."""

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
SOCKET_HUB: web.AppKey["SocketHub"] = web.AppKey("socket_hub")
#: Time limits of HTTP connections.
TIMEOUTS: web.AppKey["Timeouts"] = web.AppKey("timeouts")
DOCUMENTS: web.AppKey[Mapping[str, "Document"]] = web.AppKey("documents")
#: Set when the node starts to shut down: requests under way finish, and /ready gives 503.
DRAINING: web.AppKey[asyncio.Event] = web.AppKey("draining", asyncio.Event)
#: The authenticated caller; set before the handler on routes with auth "token" or "socket".
CALLER: web.RequestKey["Caller"] = web.RequestKey("caller")
#: The address of the client from the PROXY header of its connection (web/proxy_protocol.py); not set without one.
PROXIED_ADDRESS: web.RequestKey[str] = web.RequestKey("proxied_address", str)
#: The request id, as in X-Request-Id and the error body.
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
#: The rate limiter's grants for this request, by quota name; they become the RateLimit headers. A later setter replaces an earlier one.
GRANTS: web.RequestKey[list[tuple[str, "Grant"]]] = web.RequestKey("grants")
#: The route table's row for this request.
ROUTE: web.RequestKey[Route] = web.RequestKey("route")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of an HTTP connection, in seconds (docs/protocol.md, "Common rules"); sockets have `SocketTimeouts`."""

    #: Until a request's headers are complete, from the accept or the previous response.
    request_head: float = 15.0
    #: Until the body is complete; for a streamed body, until its next bytes.
    body: float = 10.0
    #: Until the next 64 KiB of a streamed body.
    chunk: float = 30.0
    #: Until the client reads some of a buffered response.
    stalled_write: float = 30.0
    #: For the unread rest of a body, and for a request to a node at its connection limit.
    linger: float = 2.0
    #: Until the TLS handshake is complete.
    handshake: float = 10.0


@dataclass(frozen=True, slots=True)
class Document:
    """A static document; `policy` is its Content-Security-Policy, empty for the default."""

    body: bytes
    media_type: str
    policy: str = ""
