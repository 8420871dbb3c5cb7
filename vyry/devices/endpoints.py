"""Push endpoints that users register: which hosts are allowed, and which addresses are public."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from vyry.kernel.url_safety import is_loopback


#: The ports allowed in an endpoint.
PORTS: Final = (443,)
#: Global unicast (RFC 4291). It contains the tunnels to IPv4 below; NAT64 (64:ff9b::) is outside of it.
_ROUTED: Final = IPv6Network("2000::/3")
#: Protocol assignments and 6to4 relays, parts of which the standard library calls global.
_ASSIGNED: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_TUNNELS: Final = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))
#: A host whose last label matches is not a name: resolvers read 127.1, 0x7f000001 and 017700000001 as addresses.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """Hosts of the operator (host or host:port) that endpoints may use beside the public internet."""

    allowed_hosts: frozenset[str] = frozenset()

    def allows(self, host: str, port: int | None) -> bool:
        """Whether the operator allows this host, at this port or at any."""
        return bool(self.allowed_hosts & {host, f"{host}:{port}"})


#: The public internet only.
PUBLIC: Final = EndpointPolicy()


def is_allowed_endpoint(url: str, policy: EndpointPolicy) -> bool:
    """Whether an endpoint is allowed. A name may still resolve to a private address: the resolved address is checked on connecting."""
    # urlsplit silently removes white space and control characters.
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        # Reading an invalid port raises.
        port = 443 if parts.port is None else parts.port
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        return False
    return _is_within(policy, parts.scheme, parts.hostname, port)


def _is_within(policy: EndpointPolicy, scheme: str, host: str, port: int) -> bool:
    if policy.allows(host, port):
        # Plain http is allowed to this machine only.
        return scheme == "https" or (scheme == "http" and is_loopback(host))
    return scheme == "https" and _is_outside(host.rstrip("."), port)


def _is_outside(host: str, port: int) -> bool:
    if port not in PORTS or "%" in host or host == "localhost" or host.endswith(".localhost"):
        return False
    return is_public(host) if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) else True


def is_public(host: str) -> bool:
    """Whether this text is a public IP address. Names and other texts are not."""
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
