"""Who is asking: the bearer token of a request, or the ticket of a browser's socket; and from which address."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from aiohttp import web

from vyry.accounts.account import Caller
from vyry.errors import InvalidToken, Unauthorized
from vyry.telemetry import log
from web.app_keys import SERVICES, SETTINGS


_HOP: Final = re.compile(
    r'"?(\[(?P<ipv6>[0-9A-Fa-f:.%\w]+)\](:\d{1,5})?|(?P<ipv4>[0-9.]+)(:\d{1,5})?|(?P<bare>[0-9A-Fa-f:.%\w]+))"?'
)


async def authenticate(request: web.Request) -> Caller:
    """The caller whose access token stands in the Authorization header. Raises Unauthorized without one, InvalidToken for a bad one."""
    header = request.headers.getall("Authorization", [])
    if not header:
        raise Unauthorized
    scheme, _, token = header[0].partition(" ")
    if len(header) > 1 or scheme.lower() != "bearer":
        raise InvalidToken
    return await request.app[SERVICES].sessions.authenticate(token)


async def authenticate_socket(request: web.Request) -> Caller:
    """The caller of a socket: by header, or by the one-time ticket that stands in the URL because browsers can set no header."""
    if "ticket" in request.query and "Authorization" not in request.headers:
        return await request.app[SERVICES].sessions.redeem_ticket(request.query["ticket"])
    return await authenticate(request)


def client_address(request: web.Request) -> str:
    """The address that asks: the peer, or behind trusted proxies the right-most hop that is none of them. What a client claims is never believed."""
    settings = request.app[SETTINGS]
    address = parse_address(request.remote or "") or ip_address("::1")
    for hop in reversed(_forwarded_hops(request, settings.forwarded_header)):
        if not any(address in network for network in settings.trusted_proxies):
            break
        before = _read_hop(hop)
        if before is None:
            _warn_unreadable(str(address), settings.forwarded_header)
            break
        address = before
    return str(address)


def _forwarded_hops(request: web.Request, header: str) -> list[str]:
    """The hops that the header names, the nearest last. RFC 7239 section 4, or the older form without names."""
    if header == "forwarded":
        return [hop.get("for", "") for hop in request.forwarded]
    return [hop for line in request.headers.getall("X-Forwarded-For", []) for hop in line.split(",")]


def _read_hop(text: str) -> IPv4Address | IPv6Address | None:
    """The address of a hop, which proxies write bare, in brackets, in quotes and with a port (RFC 7239 section 6)."""
    hop = _HOP.fullmatch(text.strip())
    return parse_address(hop["ipv6"] or hop["ipv4"] or hop["bare"]) if hop else None


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that this text names; an IPv4 address that came through an IPv6 socket is itself."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=64)
def _warn_unreadable(proxy: str, header: str) -> None:
    """Say once for each proxy that it writes what cannot be read: all its clients count as one. The hop itself is a client's and stays out of the log."""
    log.warning("forwarded_header_unreadable", proxy=proxy, header=header)
