"""Behind a TCP balancer: the address of a client is the one in the PROXY header of a trusted proxy, over TLS too, and never one that a client sends."""

import asyncio
import json
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tests.support.certificates import CertificateAuthority
from vyry.settings.settings import Role, load_settings
from web.app import build_rest_app
from web.app_keys import Timeouts
from web.auth import client_address
from web.bodies import json_response
from web.connection import serve_app
from web.proxy_protocol import SIGNATURE
from web.route import Route
from web.wire.shapes import WireModel


ASKED = b"GET /address HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
Open = Callable[..., AbstractAsyncContextManager[int]]


class Address(WireModel):
    """The address of the client."""

    address: str


async def show_address(request: Any) -> Any:
    return json_response(Address(address=client_address(request)))


ADDRESS = Route(
    method="GET", path="/address", operation="health.address", handler=show_address, summary="", auth="open", responses={200: Address}
)  # fmt: skip


def named(address: str) -> bytes:
    """A header of version 2 that names this client."""
    rest = bytes(map(int, address.split("."))) + bytes([10, 0, 0, 1]) + struct.pack(">HH", 50_000, 443)
    return SIGNATURE + b"\x21\x11" + struct.pack(">H", len(rest)) + rest


@pytest.fixture
def open_node(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(tls: ssl.SSLContext | None = None, **settings: str) -> AsyncIterator[int]:
        environment = {
            "VYRY_DATA_DIR": str(tmp_path),
            "VYRY_PROXY_PROTOCOL": "v2",
            "VYRY_TRUSTED_PROXIES": "127.0.0.2/32,10.0.0.0/8",
            **settings,
        }
        app = build_rest_app(
            load_settings(Role.START, environment), cast(Any, None), (ADDRESS,), Timeouts(handshake=0.5)
        )
        async with serve_app(app, "127.0.0.1", 0, tls=tls) as port:
            yield port

    return opened


async def ask(port: int, sent: bytes, peer: str = "127.0.0.2", *, piece: int = 0) -> str:
    """What these bytes from this address are answered, whole or in pieces."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(peer, 0))
    for at in range(0, len(sent), piece or len(sent)):
        writer.write(sent[at : at + (piece or len(sent))])
        await writer.drain()
        await asyncio.sleep(0)
    try:
        answer = await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:
        answer = b""
    writer.close()
    return answer.decode()


def address_in(answer: str) -> str:
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 ")
    found: str = json.loads(body)["address"]
    return found


@pytest.mark.parametrize("piece", [0, 1])
async def test_the_address_of_the_client_is_that_of_the_header(open_node: Open, piece: int) -> None:
    async with open_node() as port:
        assert address_in(await ask(port, named("198.51.100.7") + ASKED, piece=piece)) == "198.51.100.7"


async def test_a_health_check_of_the_proxy_has_its_own_address(open_node: Open) -> None:
    async with open_node() as port:
        assert address_in(await ask(port, LOCAL + ASKED)) == "127.0.0.2"


async def test_a_header_of_anybody_else_is_malformed_http(open_node: Open) -> None:
    async with open_node() as port:
        direct = await ask(port, ASKED, peer="127.0.0.3")
        forged = await ask(port, named("198.51.100.7") + ASKED, peer="127.0.0.3")

    assert address_in(direct) == "127.0.0.3"
    assert forged.startswith("HTTP/1.0 400 ")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (ASKED, "no PROXY header"),
        (b"PROXY TCP4 198.51.100.7 10.0.0.1 50000 443\r\n" + ASKED, "version 1"),
        (named("198.51.100.7").replace(b"\x21\x11", b"\x21\x12") + ASKED, "not TCP"),
    ],
)
async def test_a_trusted_proxy_without_the_right_header_is_closed_and_told(
    open_node: Open, sent: bytes, reason: str
) -> None:
    async with open_node() as port:
        with capture_logs() as lines:
            answer = await ask(port, sent)

    assert answer == ""
    [line] = [each for each in lines if each["event"] == "proxy_header_invalid"]
    assert (line["proxy"], reason in line["reason"]) == ("127.0.0.2", True)


async def test_a_header_that_does_not_come_is_waited_for_a_limited_time(open_node: Open) -> None:
    async with open_node() as port, asyncio.timeout(3):
        assert await ask(port, named("198.51.100.7")[:20]) == ""


async def test_hops_count_only_behind_a_trusted_address_in_the_header(open_node: Open) -> None:
    forwarded = ASKED.replace(b"Host: node", b"Host: node\r\nX-Forwarded-For: 203.0.113.5")
    async with open_node() as port:
        client = await ask(port, named("198.51.100.7") + forwarded)
        proxy = await ask(port, named("10.0.0.9") + forwarded)

    assert (address_in(client), address_in(proxy)) == ("198.51.100.7", "203.0.113.5")


async def test_each_client_has_a_share_of_the_connections_of_its_own(open_node: Open) -> None:
    async with open_node(VYRY_MAX_CONNECTIONS_ADDRESS="2") as port:
        held = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(2)]
        for _, writer in held:
            writer.write(named("198.51.100.7"))
        await asyncio.sleep(0.1)

        same = await ask(port, named("198.51.100.7") + ASKED)
        other = await ask(port, named("198.51.100.8") + ASKED)
        for _, writer in held:
            writer.close()

    assert same.startswith("HTTP/1.1 429 ")
    assert address_in(other) == "198.51.100.8"


async def test_over_tls_the_header_stands_before_the_handshake(open_node: Open, tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    papers = authority.issue("node")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.cert, papers.key)

    async with open_node(tls=context) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        writer.write(named("198.51.100.7"))
        await writer.start_tls(authority.client_context, server_hostname="127.0.0.1")
        writer.write(ASKED)
        answer = (await asyncio.wait_for(reader.read(), 5)).decode()
        writer.close()

    assert address_in(answer) == "198.51.100.7"


async def test_the_end_of_the_node_waits_for_no_header(open_node: Open) -> None:
    async with asyncio.timeout(3):
        async with open_node() as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            writer.write(named("198.51.100.7")[:5])
            await asyncio.sleep(0.1)
        writer.close()
