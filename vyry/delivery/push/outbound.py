"""HTTP connections to addresses that users name: only to the public internet.

The check runs on the resolved address when the socket is created (SSRF), so it also stops a name that resolves to the local network, a name that resolves
differently at a second look-up (DNS rebinding), and an address in an unusual notation. Callers follow no redirects.
"""

import socket
from typing import Any

import aiohttp

from vyry.devices.endpoints import PORTS, is_public


class ForbiddenAddress(OSError):
    """The address does not belong to the public internet."""


def public_only_session(seconds: float) -> aiohttp.ClientSession:
    """A session that connects only to public addresses on `PORTS`."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (host, port, *_) = info
        if not (is_public(host) and port in PORTS):
            raise ForbiddenAddress("not on the public internet")
        return socket.socket(family, kind, protocol)

    return _session(seconds, aiohttp.TCPConnector(socket_factory=make, limit=0, use_dns_cache=False))


def trusted_session(seconds: float) -> aiohttp.ClientSession:
    """A session for hosts that the operator allows, at any address."""
    return _session(seconds, aiohttp.TCPConnector(limit=0))


def _session(seconds: float, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=seconds)
    # No cookies, so that requests are independent; compressed responses are not decompressed.
    return aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )
