"""A WebSocket client as thin as it can be, so that the load takes little of the cores it shares with the node.

It masks with a key of zeros (RFC 6455 lets the client choose), so masking costs nothing here; writes of one turn of the loop leave together.
"""

import asyncio
import base64
import secrets
from collections.abc import Callable
from typing import Literal, cast
from urllib.parse import urlsplit

import msgpack
import orjson


_SUBPROTOCOLS = {"json": "vyry.v1.json", "msgpack": "vyry.v1.msgpack"}
Codec = Literal["json", "msgpack"]
Frame = dict[str, object]

_CLOSE, _PING, _PONG = 8, 9, 10


class Socket(asyncio.Protocol):
    """One connection; `on_frame` is called for each frame as it arrives."""

    def __init__(self, codec: Codec, on_frame: Callable[["Socket", Frame], None]) -> None:
        self.codec = codec
        self._on_frame = on_frame
        self._incoming = bytearray()
        self._outgoing: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._upgraded: asyncio.Future[None] = self._loop.create_future()
        #: Resolves with the close code (1006: the connection just ended).
        self.closed: asyncio.Future[int] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, url: str, token: str, codec: Codec, on_frame: Callable[["Socket", Frame], None]) -> "Socket":
        """Connect to `url` (http://host:port) and upgrade. Raises ConnectionError when the node refuses."""
        parts = urlsplit(url)
        socket = cls(codec, on_frame)
        await asyncio.get_running_loop().create_connection(lambda: socket, parts.hostname or "", parts.port or 80)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines = [
            "GET /api/v1/ws HTTP/1.1",
            f"Host: {parts.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {_SUBPROTOCOLS[codec]}",
            f"Authorization: Bearer {token}",
        ]
        socket._write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(30):
            await socket._upgraded
        return socket

    def send(self, frame: Frame) -> None:
        """Send one frame at the end of this turn of the loop."""
        if self.codec == "json":
            opcode, body = 0x81, orjson.dumps(frame)
        else:
            opcode, body = 0x82, cast("bytes", msgpack.packb(frame))
        self._write(_header(opcode, len(body)) + body)

    def close(self) -> None:
        """Leave without ceremony."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, piece: bytes) -> None:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(piece)

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TCP connection stands."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol gives it
        """The TCP connection is gone."""
        self._ended(1006)

    def data_received(self, data: bytes) -> None:
        """Split the received bytes into frames; the body of a refused upgrade contains none."""
        if self._transport is None or self._transport.is_closing():
            return
        self._incoming += data
        if not self._upgraded.done() and not self._read_upgrade():
            return
        self._read_frames()

    def _read_upgrade(self) -> bool:
        end = self._incoming.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._incoming[:end])
        del self._incoming[: end + 4]
        if head.startswith(b"HTTP/1.1 101"):
            self._upgraded.set_result(None)
            return True
        self._upgraded.set_exception(ConnectionError(head.split(b"\r\n")[0].decode()))
        self.close()
        return False

    def _read_frames(self) -> None:
        buffer, at = self._incoming, 0
        while (start := _body_start(buffer, at)) is not None:
            length = _length(buffer, at)
            if len(buffer) < start + length:
                break
            self._take(buffer[at] & 0x0F, bytes(buffer[start : start + length]))
            at = start + length
        del buffer[:at]

    def _take(self, opcode: int, body: bytes) -> None:
        if opcode == _PING:
            self._write(_header(0x80 | _PONG, len(body)) + body)
        elif opcode == _CLOSE:
            self._ended(int.from_bytes(body[:2], "big") if body else 1005)
            self.close()
        else:
            self._on_frame(self, orjson.loads(body) if self.codec == "json" else msgpack.unpackb(body))

    def _ended(self, code: int) -> None:
        if not self._upgraded.done():
            self._upgraded.set_exception(ConnectionError("closed before the upgrade"))
        if not self.closed.done():
            self.closed.set_result(code)


def _header(opcode: int, length: int) -> bytes:
    if length < 126:
        return bytes((opcode, 0x80 | length, 0, 0, 0, 0))
    if length < 65_536:
        return bytes((opcode, 0x80 | 126)) + length.to_bytes(2, "big") + b"\0\0\0\0"
    return bytes((opcode, 0x80 | 127)) + length.to_bytes(8, "big") + b"\0\0\0\0"


def _body_start(buffer: bytearray, at: int) -> int | None:
    if len(buffer) < at + 2:
        return None
    start = at + {126: 4, 127: 10}.get(buffer[at + 1] & 0x7F, 2)
    return start if len(buffer) >= start else None


def _length(buffer: bytearray, at: int) -> int:
    short = buffer[at + 1] & 0x7F
    if short < 126:
        return short
    return int.from_bytes(buffer[at + 2 : at + (4 if short == 126 else 10)], "big")
