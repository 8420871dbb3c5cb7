"""Requests that two servers could read differently, over a bare connection: each is read as one thing or refused, and the next one is what it says.

Behind every case `GET /health` follows on the same connection. Either it is answered, as itself, or the connection has ended before it.
"""

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Final

import aiohttp
import pytest

from scripts.nodes import AllInOneProcess
from tests.support.raw_websocket import upgrade_request
from tests.support.rest_device import NodeClient


HEAD, JSON, TOKEN = "Host: vyry\r\n", "Content-Type: application/json\r\n", "Authorization: Bearer TOKEN\r\n"
GET, POST = f"GET /health HTTP/1.1\r\n{HEAD}", f"POST /api/v1/auth/ws-ticket HTTP/1.1\r\n{HEAD}{JSON}{TOKEN}"
NEXT: Final = f"{GET}Connection: close\r\n\r\n"
HIDDEN: Final = f"DELETE /hidden HTTP/1.1\r\n{HEAD}\r\n"
CHUNKED, LAST = "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"
UPGRADE: Final = upgrade_request(1, "TOKEN").decode()
KEY: Final = re.compile("Key: .*")

#: What is sent, and the statuses that are answered to it and to what follows.
CASES: Final[dict[str, tuple[str, *tuple[int, ...]]]] = {
    "nothing odd": (f"{GET}\r\n", 200, 200),
    "empty lines before": (f"\r\n\r\n{GET}\r\n", 200, 200),
    # How long a body is.
    "length and chunks": (f"{POST}Content-Length: 4\r\n{CHUNKED}\r\n{LAST}{HIDDEN}", 400),
    "chunks and length": (f"{POST}{CHUNKED}Content-Length: 4\r\n\r\n{LAST}{HIDDEN}", 400),
    "one length twice": (f"{POST}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}", 400),
    "two lengths": (f"{POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", 400),
    "lengths in a list": (f"{POST}Content-Length: 2, 2\r\n\r\n{{}}", 400),
    "a length with plus": (f"{POST}Content-Length: +2\r\n\r\n{{}}", 400),
    "a negative length": (f"{POST}Content-Length: -2\r\n\r\n{{}}", 400),
    "a length in hexadecimal": (f"{POST}Content-Length: 0x2\r\n\r\n{{}}", 400),
    "a length with underscore": (f"{POST}Content-Length: 1_0\r\n\r\n{{}}", 400),
    "a length with a space": (f"{POST}Content-Length: 2 2\r\n\r\n{{}}", 400),
    "a length beyond 64 bits": (f"{POST}Content-Length: {'9' * 23}\r\n\r\n{{}}", 400),
    "an empty length": (f"{POST}Content-Length:\r\n\r\n", 400),
    "a request as the body of a GET": (f"{GET}Content-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}", 415, 200),
    "a request as body": (f"{POST}Content-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}", 400, 200),
    "a request in a chunk": (f"{POST}{CHUNKED}\r\n{len(HIDDEN):x}\r\n{HIDDEN}\r\n{LAST}", 400, 200),
    "too much announced": (f"{POST}Content-Length: 300000\r\n\r\n{HIDDEN}", 413),
    # How a body is coded.
    "chunked": (f"{POST}{CHUNKED}\r\n2\r\n{{}}\r\n{LAST}", 200, 200),
    "chunked in capitals": (f"{POST}Transfer-Encoding: CHUNKED\r\n\r\n2\r\n{{}}\r\n{LAST}", 200, 200),
    "xchunked": (f"{POST}Transfer-Encoding: xchunked\r\n\r\n{LAST}", 400),
    "chunked and more": (f"{POST}Transfer-Encoding: chunked, identity\r\n\r\n{LAST}", 400),
    "chunked twice in a line": (f"{POST}Transfer-Encoding: chunked, chunked\r\n\r\n{LAST}", 400),
    "chunked twice": (f"{POST}{CHUNKED}{CHUNKED}\r\n{LAST}", 400),
    "chunked and identity": (f"{POST}{CHUNKED}Transfer-Encoding: identity\r\n\r\n{LAST}", 400),
    "identity": (f"{POST}Transfer-Encoding: identity\r\n\r\n", 400),
    "gzip and no chunks": (f"{POST}Transfer-Encoding: gzip\r\n\r\n", 400),
    "a space before the colon": (f"{POST}Transfer-Encoding : chunked\r\n\r\n{LAST}", 400),
    "a vertical tab": (f"{POST}Transfer-Encoding:\x0bchunked\r\n\r\n{LAST}", 400),
    "quotes": (f'{POST}Transfer-Encoding: "chunked"\r\n\r\n{LAST}', 400),
    "chunks of HTTP/1.0": (f"{POST}{CHUNKED}\r\n{LAST}".replace("HTTP/1.1", "HTTP/1.0"), 400),
    # What a chunk is.
    "a chunk extension": (f"{POST}{CHUNKED}\r\n2;a=b\r\n{{}}\r\n{LAST}", 200, 200),
    "a trailer": (f"{POST}{CHUNKED}\r\n2\r\n{{}}\r\n0\r\nX: y\r\n\r\n", 200, 200),
    "a line feed in a chunk extension": (f"{POST}{CHUNKED}\r\n2;a\nb\r\n{{}}\r\n{LAST}", 400),
    "a chunk of 0x2": (f"{POST}{CHUNKED}\r\n0x2\r\n{{}}\r\n{LAST}", 400),
    "a chunk of -2": (f"{POST}{CHUNKED}\r\n-2\r\n{{}}\r\n{LAST}", 400),
    "a chunk of no size": (f"{POST}{CHUNKED}\r\n\r\n{{}}\r\n{LAST}", 400),
    "a chunk beyond 64 bits": (f"{POST}{CHUNKED}\r\n{'F' * 17}\r\n{{}}\r\n{LAST}", 400),
    "a space behind a chunk's size": (f"{POST}{CHUNKED}\r\n2 \r\n{{}}\r\n{LAST}", 400),
    "chunks by line feeds": (f"{POST}{CHUNKED}\r\n2\n{{}}\n0\n\n", 400),
    "a chunk longer than its size": (f"{POST}{CHUNKED}\r\n2\r\n{{}}x\r\n{LAST}", 400),
    # What a line is.
    "bare line feeds": (f"{GET}\r\n".replace("\r\n", "\n"), 400),
    "one bare line feed": (f"{GET}X: a\nY: b\r\n\r\n", 400),
    "a bare carriage return": (f"{GET}X: a\rY: b\r\n\r\n", 400),
    "NUL in a value": (f"{GET}X: a\0b\r\n\r\n", 400),
    "NUL in a name": (f"{GET}X\0: a\r\n\r\n", 400),
    "a folded line": (f"{GET}X: a\r\n b\r\n\r\n", 400),
    "a space before the first line": (f"GET /health HTTP/1.1\r\n {HEAD}\r\n", 400),
    "no colon": (f"{GET}Nonsense\r\n\r\n", 400),
    "no name": (f"{GET}: a\r\n\r\n", 400),
    "a name with umlaut": (f"{GET}\xe4: a\r\n\r\n", 400),
    "a line over 8 KiB": (f"{GET}X: {'a' * 8300}\r\n\r\n", 400),
    "90 lines": (GET + "".join(f"X-{at}: a\r\n" for at in range(90)) + "\r\n", 200, 200),
    "100 lines": (GET + "".join(f"X-{at}: a\r\n" for at in range(99)) + "\r\n", 400),
    "no host": ("GET /health HTTP/1.1\r\n\r\n", 400),
    "two hosts": (f"{GET}{HEAD}\r\n", 400),
    # What a request line is.
    "the whole URL": (f"GET http://vyry/health HTTP/1.1\r\n{HEAD}\r\n", 200, 200),
    "another URL": (f"GET http://other/hidden HTTP/1.1\r\n{HEAD}\r\n", 404, 200),
    "a tunnel": (f"CONNECT vyry:80 HTTP/1.1\r\n{HEAD}\r\n", 404, 200),
    "a star": (f"OPTIONS * HTTP/1.1\r\n{HEAD}\r\n", 404, 200),
    "no slash": (f"GET health HTTP/1.1\r\n{HEAD}\r\n", 400),
    "an umlaut in the path": (f"GET /\xe4 HTTP/1.1\r\n{HEAD}\r\n", 400),
    "a space in the path": (f"GET /health x HTTP/1.1\r\n{HEAD}\r\n", 400),
    "tabs for spaces": (f"GET\t/health\tHTTP/1.1\r\n{HEAD}\r\n", 400),
    "HTTP/0.9": ("GET /health\r\n\r\n", 400),
    "HTTP/1.2": (f"GET /health HTTP/1.2\r\n{HEAD}\r\n", 400),
    "HTTP/1.10": (f"GET /health HTTP/1.10\r\n{HEAD}\r\n", 400),
    "HTTP/2.0": (f"GET /health HTTP/2.0\r\n{HEAD}\r\n", 400),
    "the preface of HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a method in small letters": (f"get /health HTTP/1.1\r\n{HEAD}\r\n", 400),
    # What an upgrade is.
    "an upgrade to HTTP/2": (f"{GET}Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", 200),
    "a socket without protocol": (UPGRADE.replace("Upgrade: websocket\r\n", ""), 400, 200),
    "a socket of h2c": (UPGRADE.replace("Upgrade: websocket", "Upgrade: h2c"), 400),
    "a socket or h2c": (UPGRADE.replace("Upgrade: websocket", "Upgrade: websocket, h2c"), 400),
    "a socket where there is none": (UPGRADE.replace("/api/v1/ws", "/health"), 200, 200),
    "a socket without connection": (UPGRADE.replace("Connection: Upgrade\r\n", ""), 400, 200),
    "a socket by POST": (UPGRADE.replace("GET", "POST"), 405, 200),
    "a socket of HTTP/1.0": (UPGRADE.replace("HTTP/1.1", "HTTP/1.0"), 400),
    "a socket of version 7": (UPGRADE.replace("Version: 13", "Version: 7"), 400, 200),
    "a socket of version 8": (UPGRADE.replace("Version: 13", "Version: 8"), 400, 200),
    "a socket of version 14": (UPGRADE.replace("Version: 13", "Version: 14"), 400, 200),
    "a socket of no version": (UPGRADE.replace("Sec-WebSocket-Version: 13\r\n", ""), 400, 200),
    "a socket of two versions": (UPGRADE.replace("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8"), 400, 200),
    "a socket without key": (KEY.sub("Keys: none\r", UPGRADE), 400, 200),
    "a socket with an empty key": (KEY.sub("Key: \r", UPGRADE), 400, 200),
    "a socket with a short key": (KEY.sub("Key: AAAA\r", UPGRADE), 400, 200),
    "a socket with a long key": (KEY.sub(f"Key: {'A' * 24}\r", UPGRADE), 400, 200),
    "a socket with a key of nonsense": (KEY.sub(f"Key: {'?' * 22}==\r", UPGRADE), 400, 200),
    "a socket without token": (UPGRADE.replace("Authorization", "X-Token"), 401, 200),
    "a socket with a body": (UPGRADE[:-2] + f"Content-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}", 400, 200),
    "a socket with an empty object": (UPGRADE[:-2] + f"{JSON}Content-Length: 2\r\n\r\n{{}}", 400, 200),
    "a socket with chunks": (UPGRADE[:-2] + f"{JSON}{CHUNKED}\r\n2\r\n{{}}\r\n{LAST}", 400, 200),
    "a socket, and a request in its stream": (UPGRADE + HIDDEN, 101),
    "two sockets on one connection": (UPGRADE + UPGRADE, 101),
}


@pytest.fixture(scope="module")
def alone() -> Iterator[AllInOneProcess]:
    with AllInOneProcess() as node:
        yield node
        assert "Traceback" not in node.log()
        assert '"event":"unhandled_error"' not in node.log()


@pytest.fixture(scope="module")
def token(alone: AllInOneProcess) -> str:
    async def signed_up() -> str:
        async with aiohttp.ClientSession() as http:
            return (await NodeClient(http, alone.url, alone.otp_file).sign_up(with_keys=False)).token

    return asyncio.run(signed_up())


def statuses(port: int, *pieces: bytes) -> list[int]:
    """What is answered to these writes, to the end of the connection."""
    said = b""
    with closing(socket.create_connection(("127.0.0.1", port), 5)) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            for piece in pieces:
                wire.sendall(piece)
        with suppress(ConnectionError):
            while more := wire.recv(1 << 16):
                said += more
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", said)]


@pytest.mark.parametrize("name", CASES)
def test_a_request_is_read_as_one_thing_and_the_next_as_itself(alone: AllInOneProcess, token: str, name: str) -> None:
    text, *expected = CASES[name]
    sent = (text.replace("TOKEN", token) + NEXT).encode("latin-1")

    assert statuses(alone.port, sent) == expected
    for size in (7, 11):
        assert statuses(alone.port, *(sent[at : at + size] for at in range(0, len(sent), size))) == expected
