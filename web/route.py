"""What a row of the route table is."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from aiohttp import web
from pydantic import BaseModel

from vyry.errors import VyryError
from vyry.kernel.sizes import MAX_FRAME_BYTES
from vyry.limits import REQUESTS


if TYPE_CHECKING:
    from vyry.limits import Quota


Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: The largest body a route takes unless its row says otherwise, and the largest frame of a socket.
BODY_LIMIT = MAX_FRAME_BYTES


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
    documented_headers: Mapping[str, str] = field(default_factory=dict)
    responses: Mapping[int, type[BaseModel] | str | None] = field(default_factory=dict)
    refusals: tuple[type[VyryError], ...] = ()
    documented_quota: "Quota | None" = None
    #: What a request takes of `budget` before it runs; what its answer costs beyond that is owed, and what is left of it given back (web/budget.py).
    cost: int = 1
    #: For so many bytes of the answer a request costs one more.
    bytes_per_cost: int = 2 << 10
    shared_quota: "Quota" = REQUESTS
    body_limit: int = BODY_LIMIT
    #: No body at all says the same as `{}`.
    is_body_optional: bool = False
