"""Who is asking: the bearer token of a request, or the ticket of a browser's socket; and from which address."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from aiohttp import web

from vyry.accounts.account import Caller
from vyry.errors import InvalidToken, Unauthorized
from web.keys import SERVICES, SETTINGS


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


def client_address(request: web.Request) -> str:
    """The address that asks: the peer, or behind trusted proxies the right-most hop that is none of them. What a client claims is never believed."""
    trusted = request.app[SETTINGS].trusted_proxies
    address = _read_address(request.remote or "") or ip_address("::1")
    claimed = [hop for line in request.headers.getall("X-Forwarded-For", []) for hop in line.split(",")]
    for hop in reversed(claimed):
        before = _read_address(hop.strip())
        if before is None or not any(address in network for network in trusted):
            break
        address = before
    return str(address)


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that this text names; an IPv4 address that came through an IPv6 socket is itself."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
