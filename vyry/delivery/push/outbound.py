"""Connections to addresses that somebody else has named: only to the public internet, checked on the very address that is connected to.

The check sits where the socket is made, after the name was resolved, so neither a name that resolves to this network, nor one that changes its
mind between two look-ups, nor a number written in an unusual way gets past it. No redirect is followed by whoever uses these sessions.
"""

import socket
from typing import Any

import aiohttp

from vyry.devices.endpoints import PORTS, is_public


class ForbiddenAddress(OSError):
    """The address is none of the public internet."""


def public_only_session(seconds: float) -> aiohttp.ClientSession:
    """A session that reaches public addresses on `PORTS` alone."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (host, port, *_) = info
        if not (is_public(host) and port in PORTS):
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
