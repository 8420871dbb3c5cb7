"""Connections to addresses that somebody else has named: only to the public internet, checked on the very address that is connected to.

The check sits where the socket is made, after the name was resolved, so neither a name that resolves to this network, nor one that changes its
mind between two look-ups, nor a number written in an unusual way gets past it. No redirect is followed by whoever uses these sessions.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

import aiohttp


PORTS: Final = (443,)
#: What is routed on the internet begins so (RFC 4291); inside it lie ways back to IPv4: Teredo and 6to4. NAT64 (64:ff9b::) lies outside.
_ROUTED: Final = IPv6Network("2000::/3")
#: Protocol assignments and relays to 6to4, which the standard library takes for public in part.
_ASSIGNED: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_TUNNELS: Final = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))


class ForbiddenAddress(OSError):
    """The address is none of the public internet."""


def is_public(host: str) -> bool:
    """Whether this is the address of a machine on the public internet, written as addresses are: anything else is not."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return _is_public_6(address) if isinstance(address, IPv6Address) else _is_public_4(address)


def _is_public_4(address: IPv4Address) -> bool:
    if any(address in network for network in _ASSIGNED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_public_6(address: IPv6Address) -> bool:
    if address not in _ROUTED or any(address in tunnel for tunnel in _TUNNELS):
        return False
    return address.is_global and not address.is_multicast


def guarded_session(seconds: float, *, allows_loopback: bool) -> aiohttp.ClientSession:
    """A session that reaches public addresses on `PORTS` alone; in development this machine too, on any port."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (host, port, *_) = info
        is_own = allows_loopback and _is_loopback(host)
        if not is_own and not (is_public(host) and port in PORTS):
            raise ForbiddenAddress("not on the public internet")
        return socket.socket(family, kind, protocol)

    return _session(seconds, aiohttp.TCPConnector(socket_factory=make, limit=0, use_dns_cache=False))


def trusted_session(seconds: float) -> aiohttp.ClientSession:
    """A session for hosts that the operator has named, wherever they are."""
    return _session(seconds, aiohttp.TCPConnector(limit=0))


def _session(seconds: float, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=seconds)
    # Nothing of one request must show in the next: no cookies; nobody unpacks what comes.
    return aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
