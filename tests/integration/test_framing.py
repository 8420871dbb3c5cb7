"""The frames of the socket over a bare TCP connection: RFC 6455 as the table of tests/support/websocket_cases.py, against a node that listens."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, suppress

import aiohttp
import pytest

from scripts.nodes import AllInOneProcess
from tests.support.raw_websocket import CLOSE, TEXT, RawSocket, encode_frame, ping_text, upgrade_request
from tests.support.rest_device import Device, NodeClient
from tests.support.websocket_cases import CASES, Case


DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


@pytest.fixture(scope="module")
def alone() -> Iterator[AllInOneProcess]:
    with AllInOneProcess() as node:
        yield node
        assert "Traceback" not in node.log()
        assert '"event":"unhandled_error"' not in node.log()


@pytest.fixture(scope="module")
def device(alone: AllInOneProcess) -> Device:
    async def signed_up() -> Device:
        async with aiohttp.ClientSession() as http:
            return await NodeClient(http, alone.url, alone.otp_file).sign_up(with_keys=False)

    return asyncio.run(signed_up())


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(CASES) >= 300
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frames_are_what_rfc_6455_says(alone: AllInOneProcess, device: Device, case: Case) -> None:
    raw = RawSocket.open(alone.port, device.token)
    with closing(raw.wire):
        # A node that has refused the first pieces may be gone before the last.
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in case.sent:
                raw.wire.sendall(piece)
        said = [raw.read_frame() for _ in case.replies]

        assert said == list(case.replies)
        if said and said[-1].startswith("close"):
            assert raw.ends_after(encode_frame(CLOSE, b"\x03\xe8"))
        else:
            raw.wire.sendall(encode_frame(TEXT, ping_text("still here")))
            assert raw.read_frame() == "pong still here"


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "; client_max_window_bits",
        "; server_no_context_takeover; client_no_context_takeover",
        "; server_max_window_bits=8",
    ],
)
def test_compression_is_offered_in_vain(alone: AllInOneProcess, device: Device, offer: str) -> None:
    raw = RawSocket(alone.port)
    with closing(raw.wire):
        raw.wire.sendall(upgrade_request(alone.port, device.token, DEFLATE + offer))
        head = raw.read_head()

        assert head.startswith("HTTP/1.1 101 ")
        assert "extensions" not in head.lower()
