"""Bech32 as in BIP 173, and as age writes its keys."""

import pyrage
import pytest

from vyry.kernel.bech32 import encode_bech32


@pytest.mark.parametrize(
    ("prefix", "content", "text"),
    [
        ("a", b"", "a12uel5l"),
        (
            "abcdef",
            bytes.fromhex("00443214c74254b635cf84653a56d7c675be77df"),
            "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
        ),
    ],
)
def test_bytes_have_the_text_of_the_specification(prefix: str, content: bytes, text: str) -> None:
    assert encode_bech32(prefix, content) == text


def test_age_reads_a_key_that_was_written_here() -> None:
    text = encode_bech32("age-secret-key-", bytes(range(32))).upper()

    assert str(pyrage.x25519.Identity.from_str(text)) == text
