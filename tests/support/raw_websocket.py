"""Frames of RFC 6455 as bytes, right and wrong ones, and a socket that speaks them by hand."""

import base64
import secrets
import socket
from dataclasses import dataclass
from typing import Final, Literal

import orjson


CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: How a length is written: 7 bits, 16 or 64; None for the shortest.
LengthForm = Literal[7, 16, 64] | None
HELLO: Final = {"type": "hello", "id": "hello", "payload": {"after": 0, "head": None}}


@dataclass(frozen=True, kw_only=True)
class FrameOptions:
    """In what a frame differs from a plain one."""

    is_last: bool = True
    reserved: int = 0
    mask: bytes | None = b"\x11\x22\x33\x44"
    length_form: LengthForm = None
    #: What the header claims, if it is not the truth.
    claimed_length: int | None = None


PLAIN_FRAME: Final = FrameOptions()
UNFINISHED_FRAME: Final = FrameOptions(is_last=False)


def encode_frame(opcode: int, payload: bytes | str = b"", odd: FrameOptions = PLAIN_FRAME) -> bytes:
    """One frame."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload) if odd.claimed_length is None else odd.claimed_length
    first = (odd.is_last << 7) | (odd.reserved << 4) | opcode
    form = odd.length_form or (7 if length <= 125 else 16 if length <= 0xFFFF else 64)
    short, more = {7: (length, 0), 16: (126, 2), 64: (127, 8)}[form]
    masked = 0 if odd.mask is None else 0x80
    head = bytes([first, masked | short]) + (length.to_bytes(more) if more else b"")
    return head + (payload if odd.mask is None else odd.mask + _masked(payload, odd.mask))


def _masked(payload: bytes, mask: bytes) -> bytes:
    key = int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)])
    return (int.from_bytes(payload) ^ key).to_bytes(len(payload))


def ping_text(ref: str = "ref", size: int = 0) -> str:
    """The text of a ping of ours, padded to `size`: the node answers it with a pong that names `ref`."""
    return f'{{"type":"ping","id":"{ref}","payload":{{}}}}'.ljust(size)


def upgrade_request(port: int, token: str, *more: str) -> bytes:
    """The request for a socket."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    lines = [
        "GET /api/v1/ws HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        f"Authorization: Bearer {token}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class RawSocket:
    """A connection of bytes; with `open`, one that was upgraded and has said hello."""

    def __init__(self, port: int) -> None:
        self.wire = socket.create_connection(("127.0.0.1", port), 8)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""

    @classmethod
    def open(cls, port: int, token: str, *more: str) -> "RawSocket":
        """Upgrade and say hello; raises AssertionError when that goes wrong."""
        raw = cls(port)
        raw.wire.sendall(upgrade_request(port, token, *more) + encode_frame(TEXT, orjson.dumps(HELLO)))
        head = raw.read_head()
        assert head.startswith("HTTP/1.1 101 "), head
        assert raw.read_frame() == "welcome hello"
        assert raw.read_frame() == "drained"
        return raw

    def read_head(self) -> str:
        """The head of an answer."""
        while b"\r\n\r\n" not in self._got:
            self._read_chunk()
        head, _, self._got = self._got.partition(b"\r\n\r\n")
        return head.decode()

    def read_body(self, length: int) -> bytes:
        """So many bytes of a body."""
        return self._read_exactly(length)

    def read_frame(self) -> str:
        """The next frame in words: `close 1000`, `ping 00`, `pong 00`, or of a text its type and what it answers."""
        first, second = self._read_exactly(2)
        assert first & 0x70 == 0
        assert second < 0x80, "the node masks nothing"
        length = second if second < 126 else int.from_bytes(self._read_exactly(2 if second == 126 else 8))
        payload, opcode = self._read_exactly(length), first & 0x0F
        if opcode == CLOSE:
            return f"close {int.from_bytes(payload[:2])}"
        if opcode in {PING, PONG}:
            return f"{'ping' if opcode == PING else 'pong'} {payload.hex()}"
        told = orjson.loads(payload)
        return f"{told['type']} {told['ref']}" if "ref" in told else str(told["type"])

    def ends_after(self, last: bytes = b"") -> bool:
        """Whether nothing more comes: the node closes, at the latest after `last`."""
        try:
            self.wire.sendall(last)
            return not self._got and not self.wire.recv(1)
        except (ConnectionResetError, BrokenPipeError):
            return not self._got

    def _read_exactly(self, length: int) -> bytes:
        while len(self._got) < length:
            self._read_chunk()
        taken, self._got = self._got[:length], self._got[length:]
        return taken

    def _read_chunk(self) -> None:
        came = self.wire.recv(1 << 18)
        if not came:
            raise EOFError(self._got)
        self._got += came
