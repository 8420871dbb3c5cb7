"""Sealed blobs: titles and profiles that the node stores and cannot read."""

import secrets

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vyry.signal_protocol.blobs import BlobKind, open_blob, seal_blob
from vyry.signal_protocol.refusals import (
    BadContent,
    BadMessage,
    BadPadding,
    Malformed,
    Refusal,
    TooLarge,
    UnknownVersion,
)


KEY = bytes(range(32))
INFO = {"title": "Café 👩‍👩‍👧"}


def by_the_page(said: bytes, words: str = "group info") -> bytes:
    """Section 9, implemented a second time from its text."""
    label = b"vyry/1 " + words.encode() + b"\0"
    key = HKDF(SHA256(), 32, bytes(32), label).derive(KEY)
    nonce = secrets.token_bytes(12)
    return b"\1" + nonce + AESGCM(key).encrypt(nonce, said, label + b"\1")


def padded(said: bytes) -> bytes:
    return said + b"\x80" + bytes(-(len(said) + 1) % 512)


@pytest.mark.parametrize("blob", BlobKind)
def test_a_blob_comes_out_as_it_went_in_and_is_never_sealed_alike(blob: BlobKind) -> None:
    sealed = seal_blob(KEY, blob, INFO)

    assert open_blob(KEY, blob, sealed) == INFO
    assert seal_blob(KEY, blob, INFO) != sealed
    assert len(sealed) == 1 + 12 + 512 + 16


def test_a_blob_is_what_the_page_says() -> None:
    assert open_blob(KEY, BlobKind.GROUP_INFO, by_the_page(padded(b'{"title":"a"}'))) == {"title": "a"}
    assert open_blob(KEY, BlobKind.PROFILE, by_the_page(padded(b'{"title":"a"}'), "profile")) == {"title": "a"}


def test_any_flipped_bit_of_a_blob_is_refused() -> None:
    sealed = seal_blob(KEY, BlobKind.GROUP_INFO, INFO)

    for place in range(len(sealed)):
        spoiled = bytearray(sealed)
        spoiled[place] ^= 1 << place % 8
        with pytest.raises(BadMessage if place else UnknownVersion):
            open_blob(KEY, BlobKind.GROUP_INFO, bytes(spoiled))


def test_a_blob_opens_under_its_key_and_words_only() -> None:
    sealed = seal_blob(KEY, BlobKind.GROUP_INFO, INFO)

    for key, blob in ((bytes(32), BlobKind.GROUP_INFO), (KEY, BlobKind.PROFILE)):
        with pytest.raises(BadMessage):
            open_blob(key, blob, sealed)


def test_a_blob_of_more_than_the_padding_takes_is_refused() -> None:
    harness = 63_487 - len('{"title":""}')
    assert open_blob(KEY, BlobKind.GROUP_INFO, seal_blob(KEY, BlobKind.GROUP_INFO, {"title": "x" * harness}))

    with pytest.raises(TooLarge):
        seal_blob(KEY, BlobKind.GROUP_INFO, {"title": "x" * (harness + 1)})


@pytest.mark.parametrize(
    ("sealed", "refusal"),
    [
        (b"", Malformed),
        (bytes(28), Malformed),
        (by_the_page(b'{"title":"a"}'), BadPadding),
        (by_the_page(padded(b'["a"]')), BadContent),
        (by_the_page(padded(b'{"title":"\\ud800"}')), BadContent),
        (by_the_page(padded(b"\xff")), BadContent),
    ],
    # Nonces are random: tests named by bytes would differ in each process.
    ids=["empty", "zeros", "no padding", "a list", "half a character", "no text"],
)
def test_what_no_honest_client_seals_has_a_name(sealed: bytes, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        open_blob(KEY, BlobKind.GROUP_INFO, sealed)
