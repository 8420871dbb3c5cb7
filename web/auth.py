"""Authentication by bearer token or socket ticket, and the address of a client."""

import asyncio
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from aiohttp import web

from vyry.accounts.account import Caller
from vyry.errors import InvalidToken, Unauthorized
from vyry.kernel.url_safety import is_confidential
from vyry.telemetry import log
from web.app_keys import PROXIED_ADDRESS, SERVICES, SETTINGS


_HOP: Final = re.compile(
    r'"?(\[(?P<ipv6>[0-9A-Fa-f:.%\w]+)\](:\d{1,5})?|(?P<ipv4>[0-9.]+)(:\d{1,5})?|(?P<bare>[0-9A-Fa-f:.%\w]+))"?'
)


async def authenticate(request: web.Request) -> Caller:
    """The caller of the access token in the Authorization header. Raises Unauthorized without a token, InvalidToken for a bad one."""
    header = request.headers.getall("Authorization", [])
    if not header:
        raise Unauthorized
    scheme, _, token = header[0].partition(" ")
    if len(header) > 1 or scheme.lower() != "bearer":
        raise InvalidToken
    return await request.app[SERVICES].sessions.authenticate(token)


async def authenticate_socket(request: web.Request) -> Caller:
    """The caller of a socket: by header, or by the one-time ticket in the URL, because browsers cannot set headers."""
    if "ticket" in request.query and "Authorization" not in request.headers:
        return await request.app[SERVICES].sessions.redeem_ticket(request.query["ticket"])
    return await authenticate(request)


def public_origin(request: web.Request) -> str:
    """The origin for links: as the client addressed the node; https in production, unless the host is this machine."""
    # A reachable production node is behind TLS, possibly a load balancer's.
    origin = f"{request.scheme}://{request.host}"
    if request.app[SETTINGS].env == "production" and not is_confidential(origin):
        return f"https://{request.host}"
    return origin


def client_address(request: web.Request) -> str:
    """The client's address: the peer (or the address in its PROXY header), or behind trusted proxies the right-most hop that is not one of them. Hops that a client adds itself are ignored."""
    settings = request.app[SETTINGS]
    address = parse_address(request.get(PROXIED_ADDRESS) or request.remote or "") or ip_address("::1")
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
    """The hops in the forwarded header, the nearest last (RFC 7239 section 4, or X-Forwarded-For)."""
    if header == "forwarded":
        return [hop.get("for", "") for hop in request.forwarded]
    return [hop for line in request.headers.getall("X-Forwarded-For", []) for hop in line.split(",")]


def _read_hop(text: str) -> IPv4Address | IPv6Address | None:
    """The address of a hop; proxies write it bare, in brackets, in quotes or with a port (RFC 7239 section 6). None if unreadable."""
    hop = _HOP.fullmatch(text.strip())
    return parse_address(hop["ipv6"] or hop["ipv4"] or hop["bare"]) if hop else None


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in this text, None if it is not one. An IPv4-mapped IPv6 address becomes IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def peer_address(transport: asyncio.BaseTransport) -> str:
    """The peer's address; empty if there is none."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    return str(parse_address(peer[0].partition("%")[0]) or "")


@lru_cache(maxsize=64)
def _warn_unreadable(proxy: str, header: str) -> None:
    """Log once per proxy that its header is unreadable: all its clients then share one address. The hop itself is client data and is not logged."""
    log.warning("forwarded_header_unreadable", proxy=proxy, header=header)
