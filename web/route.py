"""A row of the route table."""

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
    """One row of the table (web/routes.py): the app serves it, OpenAPI describes it and docs/protocol.md promises it.

    `auth` is "token" (bearer), "open" (no authentication) or "socket" (bearer or ?ticket=, and a trusted Origin if there is one); "token" and "socket" set CALLER.
    `responses` maps each success status to its shape; a media type stands for a whole document, None for no body. `refusals` are the route's own:
    OpenAPI adds those of every route (INVALID_REQUEST, token, sizes, RATE_LIMITED of a route with a quota or a cost).
    A route without `body` takes none (or `{}`); one without `query` takes no query parameters. A route with `stream_media_type` takes bytes of that type,
    which its handler reads in chunks (`web.bodies.read_chunks`).
    """

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    #: OpenAPI tag and operation, "tag.name". Generated clients depend on it, so it does not follow renames of handlers.
    operation: str
    handler: Handler
    summary: str
    auth: Literal["token", "open", "socket"] = "token"
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    stream_media_type: str = ""
    #: Request headers that the handler reads, and whether they are required. For OpenAPI; the handler checks them.
    request_headers: Mapping[str, bool] = field(default_factory=dict)
    #: Runs after authentication and before every other check.
    precheck: Callable[[web.Request], None] | None = None
    #: Headers of every response, errors too.
    fixed_headers: Mapping[str, str] = field(default_factory=dict)
    #: Headers that the handler sets on success, with their descriptions. For OpenAPI.
    documented_headers: Mapping[str, str] = field(default_factory=dict)
    responses: Mapping[int, type[BaseModel] | str | None] = field(default_factory=dict)
    refusals: tuple[type[VyryError], ...] = ()
    #: The quota that the handler or its service charges. For OpenAPI: no middleware charges it.
    documented_quota: "Quota | None" = None
    #: Units of `shared_quota` charged before the handler runs; the response's real cost corrects it afterwards (`run_charged`).
    cost: int = 1
    #: A response costs one more unit for each of so many bytes.
    bytes_per_cost: int = 2 << 10
    shared_quota: "Quota" = REQUESTS
    body_limit: int = BODY_LIMIT
    #: An absent body means `{}`.
    is_body_optional: bool = False
