"""The PROXY header is parsed strictly: it decides whose limits a connection is counted against."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vyry.settings.settings import Role, SettingsError, load_settings
from web.proxy_protocol import (
    HEAD_BYTES,
    MAX_REST_BYTES,
    SIGNATURE,
    InvalidProxyHeader,
    parse_head,
    parse_source,
)


FOUR = bytes([198, 51, 100, 7, 10, 0, 0, 1]) + struct.pack(">HH", 50_000, 443)
SIX = bytes.fromhex("20010db8000000000000000000000007fd000000000000000000000000000001") + bytes(4)
MAPPED = bytes(10) + b"\xff\xff" + bytes([198, 51, 100, 7]) + bytes(16) + bytes(4)


def header(rest: bytes, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(rest) if length is None else length) + rest


def source(raw: bytes) -> str | None:
    """The address that this header names, None if it names none."""
    command, family, length = parse_head(raw[:HEAD_BYTES])
    assert len(raw) == HEAD_BYTES + length
    found = parse_source(command, family, raw[HEAD_BYTES:])
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        (header(FOUR), "198.51.100.7"),
        (header(SIX, family=0x21), "2001:db8::7"),
        (header(MAPPED, family=0x21), "198.51.100.7"),
        # Further fields are passed over.
        (header(FOUR + b"\x04\x00\x00" + b"\x20\x00\x05hello"), "198.51.100.7"),
        # A health check of the proxy itself, whatever follows.
        (header(b"", command=0x20, family=0x00), None),
        (header(FOUR, command=0x20), None),
        # Addresses that are none of the internet.
        (header(b"", family=0x00), None),
        (header(bytes(216), family=0x31), None),
    ],
)
def test_a_header_of_version_2_names_the_client(raw: bytes, address: str | None) -> None:
    assert source(raw) == address


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        SIGNATURE,
        SIGNATURE[:-1] + b"\r" + header(FOUR)[12:],
        # Another version, an unknown command.
        header(FOUR, command=0x11),
        header(FOUR, command=0x31),
        header(FOUR, command=0x22),
        # Datagrams, unknown families.
        header(FOUR, family=0x12),
        header(FOUR, family=0x10),
        header(FOUR, family=0x41),
        # Shorter than its addresses, or longer than any proxy sends.
        header(FOUR[:-1]),
        header(FOUR, family=0x21),
        header(bytes(215), family=0x31),
        header(FOUR + b"\x04" + struct.pack(">H", MAX_REST_BYTES) + bytes(MAX_REST_BYTES)),
        # Fields that are not whole.
        header(FOUR + b"\x04"),
        header(FOUR + b"\x04\x00"),
        header(FOUR + b"\x04\x00\x02a"),
    ],
)
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidProxyHeader):
        source(raw)


def test_version_1_is_refused_with_what_to_set_in_the_proxy() -> None:
    with pytest.raises(InvalidProxyHeader, match=r"version 2 .*send-proxy-v2"):
        parse_head(b"PROXY TCP4 198.5")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_bytes_raise_anything_but_the_refusal(head: bytes, rest: bytes) -> None:
    for raw in (head, SIGNATURE + head):
        try:
            command, family, length = parse_head(raw[:HEAD_BYTES])
            found = parse_source(command, family, rest[:length].ljust(length, b"\0"))
        except InvalidProxyHeader:
            continue
        assert found is None or found.packed


def test_the_protocol_without_trusted_proxies_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(Role.TOOL, {"VYRY_PROXY_PROTOCOL": "v2"})

    assert "VYRY_TRUSTED_PROXIES" in str(refused.value.problems)
