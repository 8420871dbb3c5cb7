"""The names under which the app and a request keep their values, and what a row of the route table is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from aiohttp import web
from pydantic import BaseModel

from vyry.errors import VyryError
from vyry.limits import REQUESTS


if TYPE_CHECKING:
    from vyry.accounts.account import Caller
    from vyry.composition.services import Services
    from vyry.limits import Grant, Quota
    from vyry.settings import Settings
    from web.live.hub import SocketHub

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

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
ROUTE: web.RequestKey["Route"] = web.RequestKey("route")


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


#: The largest body a route takes unless its row says otherwise, and the largest frame of a socket.
BODY_LIMIT = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table (web/rows/): what the app serves, what OpenAPI says and what docs/protocol.md promises.

    `auth` is "token" (bearer, sets CALLER), "open" (nobody is asked) or "socket" (bearer or ?ticket=, and a trusted Origin when there is one).
    `answers` maps each status of success to its shape; a media type stands for a whole document, None for no body. `refusals` are those of the route itself:
    what every route can answer (INVALID_REQUEST, the token's, sizes, RATE_LIMITED with a quota, ...) is added by OpenAPI.
    A route without `body` takes none (or `{}`); one without `query` takes no query parameters. One with `stream` takes bytes of that media type instead,
    which its handler reads in pieces (web/wire/streaming.py).
    """

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    #: The route's OpenAPI tag and name, "tag.name": a promise to generated clients, so it stays when a handler or its module is renamed.
    operation: str
    handler: Handler
    summary: str
    auth: Literal["token", "open", "socket"] = "token"
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    stream_media_type: str = ""
    #: Headers of a request that the route reads, and whether it can do without.
    request_headers: Mapping[str, bool] = field(default_factory=dict)
    #: Looked at right behind the token, before everything else.
    precheck: Callable[[web.Request], None] | None = None
    #: Headers of every answer, refusals too; and of those of success, by what they say.
    fixed_headers: Mapping[str, str] = field(default_factory=dict)
    response_headers: Mapping[str, str] = field(default_factory=dict)
    responses: Mapping[int, type[BaseModel] | str | None] = field(default_factory=dict)
    refusals: tuple[type[VyryError], ...] = ()
    quota: "Quota | None" = None
    #: What a request takes of `budget` before it runs; what its answer costs beyond that is owed, and what is left of it given back (web/budget.py).
    cost: int = 1
    #: For so many bytes of the answer a request costs one more.
    bytes_per_cost: int = 2 << 10
    shared_quota: "Quota" = REQUESTS
    body_limit: int = BODY_LIMIT
    #: No body at all says the same as `{}`.
    is_body_optional: bool = False
