"""Attachments, linking and safety numbers."""

import secrets
from dataclasses import replace
from hashlib import sha256
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vyry.signal_protocol.attachments import CHUNK_BYTES, AttachmentOpener, AttachmentSealer, padded_size, sealed_size
from vyry.signal_protocol.frame import MAX_PADDED
from vyry.signal_protocol.linking import AlreadySealed, LinkOffer, LinkSecrets
from vyry.signal_protocol.primitives import DhPair
from vyry.signal_protocol.refusals import (
    AttachmentBroken,
    AttachmentTruncated,
    BadKey,
    LinkMismatch,
    Malformed,
    Refusal,
    TooLarge,
    UnknownType,
    UnknownVersion,
)
from vyry.signal_protocol.safety import (
    ListedKeys,
    device_list_fingerprint,
    fingerprint,
    matches_qr,
    qr_payload,
    safety_number,
)


KEY = bytes(range(32))


def sealed(file: bytes, step: int = 10_000) -> tuple[bytes, AttachmentSealer]:
    sealer = AttachmentSealer(KEY)
    parts = [part for at in range(0, len(file), step) for part in sealer.update(file[at : at + step])]
    return b"".join([*parts, *sealer.finish()]), sealer


def opened(blob: bytes, size: int, digest: bytes, step: int = 7_000) -> bytes:
    opener = AttachmentOpener(KEY, size, digest)
    parts = [part for at in range(0, len(blob), step) for part in opener.update(blob[at : at + step])]
    opener.finish()
    return b"".join(parts)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3 * CHUNK_BYTES), st.integers(1, 100_000), st.integers(1, 100_000))
def test_a_file_comes_out_as_it_went_in_whatever_it_is_cut_into(size: int, seal_step: int, open_step: int) -> None:
    file = secrets.token_bytes(size)

    blob, sealer = sealed(file, seal_step)

    assert (sealer.size, len(blob)) == (size, sealed_size(size))
    assert opened(blob, size, sealer.digest, open_step) == file


@given(st.integers(0, 2**40))
def test_padding_of_files_costs_at_most_an_eighth(size: int) -> None:
    assert size <= padded_size(size) <= max(512, size * 1.12)


@pytest.mark.parametrize("size", [0, 5, 513, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_a_file_that_ends_too_early_is_truncated(size: int) -> None:
    blob, sealer = sealed(bytes(size))

    for end in {0, 1, 2, len(blob) // 2, len(blob) - 1}:
        with pytest.raises(AttachmentTruncated):
            opened(blob[:end], size, sealer.digest)


def test_a_file_with_anything_changed_or_behind_it_is_broken() -> None:
    blob, sealer = sealed(bytes(CHUNK_BYTES + 100))

    for bad in (
        blob[:50] + b"\xff" + blob[51:],
        blob[:-1] + bytes([blob[-1] ^ 1]),
        blob + b"x",
        blob[:2] + blob[2 + CHUNK_BYTES + 16 :] + blob[2 : 2 + CHUNK_BYTES + 16],
    ):
        with pytest.raises(AttachmentBroken):
            opened(bad, CHUNK_BYTES + 100, sealer.digest)
    with pytest.raises(AttachmentBroken):
        opened(blob, CHUNK_BYTES + 100, bytes(32))
    with pytest.raises(AttachmentBroken):
        opened(sealed(b"x" * 100)[0], 99, bytes(32))
    with pytest.raises(UnknownVersion):
        opened(b"\x02" + blob[1:], CHUNK_BYTES + 100, sealer.digest)


def test_padding_that_hides_something_is_refused() -> None:
    honest, _ = sealed(bytes(100))
    hiding, _ = sealed(bytes(100) + b"hidden" + bytes(406))

    # With the key anyone can make a matching digest.
    assert opened(honest, 100, sha256(honest).digest()) == bytes(100)
    with pytest.raises(AttachmentBroken):
        opened(hiding, 100, sha256(hiding).digest())


def test_bytes_behind_the_last_piece_are_refused() -> None:
    blob, _ = sealed(b"a file")

    with pytest.raises(AttachmentBroken):
        opened(blob + b"x", 6, sha256(blob + b"x").digest())


def test_what_names_another_approver_than_was_compared_is_refused() -> None:
    _, new, approver = attempt()
    named_otherwise = replace(approver, approver_key=DhPair.generate().public)

    with pytest.raises(LinkMismatch):
        new.open(named_otherwise.seal(b"an account"))


def attempt() -> tuple[LinkOffer, LinkSecrets, LinkSecrets]:
    new, approver = DhPair.generate(), DhPair.generate()
    offer = LinkOffer(uuid4(), new.public, secrets.token_bytes(32))
    return offer, LinkSecrets.derive(offer, new, approver.public), LinkSecrets.derive(offer, approver, approver.public)


def test_both_screens_show_the_same_six_digits() -> None:
    _, here, there = attempt()

    assert here == there
    assert len(here.compare_code) == 6
    assert here.open(there.seal(b"identity")) == b"identity"


def test_a_key_swapped_by_the_node_shows_other_digits_and_opens_nothing() -> None:
    new, approver, thief = DhPair.generate(), DhPair.generate(), DhPair.generate()
    offer = LinkOffer(uuid4(), new.public, secrets.token_bytes(32))
    there = LinkSecrets.derive(offer, approver, approver.public)

    here = LinkSecrets.derive(offer, new, thief.public)

    assert here.key != there.key
    with pytest.raises(LinkMismatch):
        here.open(there.seal(b"identity"))


def test_provisioning_is_checked_from_the_outside_in() -> None:
    _, here, there = attempt()
    provisioning = there.seal(b"identity")

    for refusal, bad in (
        (Malformed, provisioning[:33]),
        (UnknownVersion, b"\x02" + provisioning[1:]),
        (UnknownType, b"\x01\x10" + provisioning[2:]),
        (LinkMismatch, provisioning[:2] + bytes(32) + provisioning[34:]),
        (LinkMismatch, provisioning[:-1] + bytes([provisioning[-1] ^ 1])),
        (LinkMismatch, provisioning[:34]),
    ):
        with pytest.raises(refusal):
            here.open(bad)


def test_an_attempt_seals_once_and_a_copy_of_it_too() -> None:
    _, here, there = attempt()
    sealed = there.seal(b"the account")

    for again in (there, replace(there)):
        with pytest.raises(AlreadySealed, match="Post the same bytes"):
            again.seal(b"other settings")
    assert here.open(sealed) == b"the account"


def test_what_is_too_large_to_seal_uses_up_no_attempt() -> None:
    _, here, there = attempt()

    with pytest.raises(TooLarge):
        there.seal(bytes(MAX_PADDED))

    assert here.open(there.seal(b"the account")) == b"the account"


def test_a_link_with_a_key_of_small_order_is_refused() -> None:
    offer = LinkOffer(uuid4(), bytes(32), bytes(32))

    with pytest.raises(BadKey):
        LinkSecrets.derive(offer, own := DhPair.generate(), own.public)


GOOD = LinkOffer(uuid4(), bytes(32), bytes(32)).uri()


@pytest.mark.parametrize(
    ("uri", "refusal"),
    [
        ("", Malformed),
        (GOOD.replace("v=1", "v=2"), UnknownVersion),
        (GOOD.replace("v=1&", ""), Malformed),
        (GOOD + "&s=x", Malformed),
        (GOOD + "=", Malformed),
        (GOOD[:-1] + "B", Malformed),
        (GOOD.replace("link?", "link/?"), Malformed),
        (GOOD.replace("&k=", "&K="), Malformed),
        (GOOD + "\n", Malformed),
        (GOOD.upper(), Malformed),
    ],
)
def test_a_code_that_no_device_shows_is_refused(uri: str, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        LinkOffer.read(uri)


def test_a_code_says_what_was_put_into_it() -> None:
    offer = LinkOffer(uuid4(), secrets.token_bytes(32), secrets.token_bytes(32))

    assert LinkOffer.read(offer.uri()) == offer


def test_people_who_compare_see_the_same_and_scan_crosswise() -> None:
    one, other = fingerprint(uuid4(), bytes(32)), fingerprint(uuid4(), bytes(31) + b"\x01")

    assert safety_number(one, other) == safety_number(other, one)
    assert len(safety_number(one, other)) == 60
    assert matches_qr(qr_payload(one, other), own=other, theirs=one)
    assert not matches_qr(qr_payload(one, other), own=one, theirs=other)


def test_a_hidden_or_added_device_changes_the_fingerprint_of_the_list() -> None:
    user, rows = uuid4(), [ListedKeys(1, 7, bytes(32)), ListedKeys(2, 8, bytes(32))]
    whole = device_list_fingerprint(user, bytes(32), rows)

    assert device_list_fingerprint(user, bytes(32), rows[::-1]) == whole
    for other in (rows[:1], [*rows, ListedKeys(3, 9, bytes(32))], [rows[0], replace(rows[1], registration_id=9)]):
        assert device_list_fingerprint(user, bytes(32), other) != whole
