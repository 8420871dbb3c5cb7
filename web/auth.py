"""Who is asking: the bearer token of a request, or the ticket of a browser's socket."""

from aiohttp import web

from vyry.accounts.account import Caller
from vyry.errors import InvalidToken, Unauthorized
from web.keys import SERVICES


async def by_token(request: web.Request) -> Caller:
    """The caller whose access token stands in the Authorization header. Raises Unauthorized without one, InvalidToken for a bad one."""
    header = request.headers.getall("Authorization", [])
    if not header:
        raise Unauthorized
    scheme, _, token = header[0].partition(" ")
    if len(header) > 1 or scheme.lower() != "bearer":
        raise InvalidToken
    return await request.app[SERVICES].sessions.recognise(token)


async def by_token_or_ticket(request: web.Request) -> Caller:
    """The caller of a socket: by header, or by the one-time ticket that stands in the URL because browsers can set no header."""
    if "ticket" in request.query and "Authorization" not in request.headers:
        return await request.app[SERVICES].sessions.redeem(request.query["ticket"])
    return await by_token(request)
