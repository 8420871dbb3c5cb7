"""Where endpoints that somebody else has named may lie: on the public internet, and what an address of it is."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from vyry.kernel.url_safety import is_loopback


#: Nothing else is asked at an address that a user has named.
PORTS: Final = (443,)
#: What is routed on the internet begins so (RFC 4291); inside it lie ways back to IPv4: Teredo and 6to4. NAT64 (64:ff9b::) lies outside.
_ROUTED: Final = IPv6Network("2000::/3")
#: Protocol assignments and relays to 6to4, which the standard library takes for public in part.
_ASSIGNED: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_TUNNELS: Final = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))
#: Whatever ends so is no name: resolvers read 127.1, 0x7f000001 and 017700000001 as addresses.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """What endpoints may name beside the public internet: `hosts` of the operator's own (host or host:port)."""

    allowed_hosts: frozenset[str] = frozenset()

    def allows(self, host: str, port: int | None) -> bool:
        """Whether the operator has named this host, at this port or at all."""
        return bool(self.allowed_hosts & {host, f"{host}:{port}"})


#: The public internet and nothing else.
PUBLIC: Final = EndpointPolicy()


def is_allowed_endpoint(url: str, reach: EndpointPolicy) -> bool:
    """Whether something could be posted there. A name may still resolve to what must not be reached: that is judged when it is connected to."""
    # urlsplit takes white space and control characters out in silence.
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        # A port that is none is told when it is asked for.
        port = 443 if parts.port is None else parts.port
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        return False
    return _is_within(reach, parts.scheme, parts.hostname, port)


def _is_within(reach: EndpointPolicy, scheme: str, host: str, port: int) -> bool:
    if reach.allows(host, port):
        # Nobody reads what goes to this very machine.
        return scheme == "https" or (scheme == "http" and is_loopback(host))
    return scheme == "https" and _is_outside(host.rstrip("."), port)


def _is_outside(host: str, port: int) -> bool:
    if port not in PORTS or "%" in host or host == "localhost" or host.endswith(".localhost"):
        return False
    return is_public(host) if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) else True


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
