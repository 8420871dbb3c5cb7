"""PROXY protocol version 2: the address of the client behind a TCP balancer (haproxy.org, proxy-protocol.txt, section 2.2).

A trusted proxy must send the header, and nobody else may: a connection from another address is served as it is, and a header from there is malformed
HTTP. Version 1, a text, is refused. The header is read from the bare socket, before TLS, and not one byte behind it.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from vyry.telemetry import log
from web.auth import parse_address


SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
HEAD_BYTES: Final = 16
#: Addresses and further fields: HAProxy and cloud balancers send some hundred bytes.
MAX_REST_BYTES: Final = 2048
#: Connections that wait for their accept.
BACKLOG: Final = 1024
#: Connections of proxies whose header is not complete.
MAX_WAITING: Final = 1_000
_HEAD: Final = struct.Struct(">12sBBH")
_FIELD: Final = struct.Struct(">BH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
#: The bytes of the addresses and ports, by family.
_ADDRESS_BYTES: Final = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}
#: Seconds until the next attempt when the process has no file descriptor left.
_ACCEPT_RETRY_SECONDS: Final = 0.1

Address = IPv4Address | IPv6Address


class InvalidProxyHeader(Exception):
    """Not a header of version 2; the text is for the operator and quotes nothing of it."""


def parse_head(head: bytes) -> tuple[int, int, int]:
    """Command, family and the length of the rest. Raises InvalidProxyHeader."""
    if head.startswith(b"PROXY "):
        raise InvalidProxyHeader("version 1 is not supported: have the proxy send version 2 (HAProxy: send-proxy-v2)")
    if len(head) != HEAD_BYTES or not head.startswith(SIGNATURE):
        raise InvalidProxyHeader("no PROXY header of version 2")
    _, command, family, length = _HEAD.unpack(head)
    if command not in (_LOCAL, _PROXY):
        raise InvalidProxyHeader("unknown version or command")
    if command == _PROXY and family not in _ADDRESS_BYTES:
        raise InvalidProxyHeader("the connection is not TCP")
    if length > MAX_REST_BYTES or (command == _PROXY and length < _ADDRESS_BYTES[family]):
        raise InvalidProxyHeader("a length out of range")
    return command, family, length


def parse_source(command: int, family: int, rest: bytes) -> Address | None:
    """The address of the client; None for a connection of the proxy itself (a health check) and for an address that is not IP. Raises InvalidProxyHeader."""
    if command == _LOCAL:
        return None
    _check_fields(rest[_ADDRESS_BYTES[family] :])
    if family == _TCP4:
        return IPv4Address(rest[:4])
    if family == _TCP6:
        return parse_address(str(IPv6Address(rest[:16])))
    return None


def _check_fields(fields: bytes) -> None:
    """Raise InvalidProxyHeader unless these are whole type-length-value fields; their values are not used."""
    at = 0
    while at < len(fields):
        if len(fields) - at < _FIELD.size:
            raise InvalidProxyHeader("an incomplete field")
        at += _FIELD.size + _FIELD.unpack_from(fields, at)[1]
    if at != len(fields):
        raise InvalidProxyHeader("an incomplete field")


async def read_source(connection: socket.socket) -> Address | None:
    """Read the header from a connection of a trusted proxy; see `parse_source`. Raises InvalidProxyHeader, OSError."""
    command, family, length = parse_head(await _read_exactly(connection, HEAD_BYTES))
    return parse_source(command, family, await _read_exactly(connection, length))


async def _read_exactly(connection: socket.socket, count: int) -> bytes:
    loop, found = asyncio.get_running_loop(), b""
    while len(found) < count:
        part = await loop.sock_recv(connection, count - len(found))
        if not part:
            raise InvalidProxyHeader("the connection ended within the header" if found else "the connection ended")
        found += part
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTerms:
    """How connections of proxies are accepted; `make_protocol` gets the address of the client, empty for that of the connection."""

    trusted: Sequence[IPv4Network | IPv6Network]
    make_protocol: Callable[[str], asyncio.BaseProtocol]
    tls: ssl.SSLContext | None
    #: For the header, and for the TLS handshake.
    seconds: float


class ProxyListener:
    """Listening sockets whose connections from trusted proxies begin with a header."""

    def __init__(self, sockets: Sequence[socket.socket], terms: ProxyTerms, tasks: asyncio.TaskGroup) -> None:
        self.sockets = sockets
        self._terms = terms
        self._tasks = tasks
        #: Connections whose header or TLS handshake is not complete.
        self._waiting: set[asyncio.Task[None]] = set()
        self._accepting = [tasks.create_task(self._accept(each)) for each in sockets]

    def close(self) -> None:
        """Refuse new connections; accepted ones go on."""
        for task in self._accepting:
            task.cancel()

    def abort_waiting(self) -> None:
        """Close the connections whose header or TLS handshake is not complete."""
        for task in self._waiting:
            task.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(listener)
                except OSError:
                    await asyncio.sleep(_ACCEPT_RETRY_SECONDS)
                    continue
                if len(self._waiting) >= MAX_WAITING:
                    connection.close()
                    continue
                task = self._tasks.create_task(self._serve(connection, str(peer[0])))
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)
        finally:
            listener.close()

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            source = await self._read_address(connection, peer)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._terms.make_protocol(source),
                connection,
                ssl=self._terms.tls,
                ssl_handshake_timeout=self._terms.seconds if self._terms.tls else None,
            )
        except (OSError, TimeoutError):
            connection.close()
        except InvalidProxyHeader as problem:
            connection.close()
            _warn_invalid(peer, str(problem))
        except asyncio.CancelledError:
            connection.close()
            raise
        except Exception:  # noqa: BLE001 - one connection must not end the listener
            connection.close()
            log.exception("unhandled_error")

    async def _read_address(self, connection: socket.socket, peer: str) -> str:
        """The client's address in the header; empty without one, or when the connection is the proxy's own."""
        address = parse_address(peer.partition("%")[0])
        if address is None or not any(address in network for network in self._terms.trusted):
            return ""
        async with asyncio.timeout(self._terms.seconds):
            return str(await read_source(connection) or "")


async def open_listening_sockets(host: str | None, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """A listening socket for each address of this host. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((each[0], each[4]) for each in found):
            opened.append(socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=reuse_port))
            opened[-1].setblocking(False)  # noqa: FBT003  the signature of the standard library
    except BaseException:
        for each in opened:
            each.close()
        raise
    return opened


@lru_cache(maxsize=64)
def _warn_invalid(proxy: str, reason: str) -> None:
    """Log once per proxy and reason."""
    log.warning("proxy_header_invalid", proxy=proxy, reason=reason)
