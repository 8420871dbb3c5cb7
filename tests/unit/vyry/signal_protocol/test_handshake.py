"""PQXDH: both sides derive one key, and nothing in a bundle or prefix can be changed unnoticed."""

from dataclasses import replace
from uuid import uuid4

import pytest

from tests.support.protocol_sessions import establish_session, make_device, make_session_pair
from vyry.signal_protocol.handshake import PREFIX_BYTES, Prefix, answer, begin, split_prekey_message
from vyry.signal_protocol.keys import Bundle, PublicPrekey
from vyry.signal_protocol.primitives import Address, DhPair, SigningPair, verify
from vyry.signal_protocol.ratchet import Ratchet
from vyry.signal_protocol.refusals import (
    BadKey,
    BadMessage,
    BadSignature,
    Malformed,
    Refusal,
    TooLarge,
    UnknownType,
    UnknownVersion,
)


SMALL_ORDER = [
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("ec" + "ff" * 30 + "7f"),
]
NOT_CANONICAL = [bytes.fromhex("ed" + "ff" * 30 + "7f"), bytes.fromhex("ff" * 32)]


@pytest.mark.parametrize("one_time", [True, False])
@pytest.mark.parametrize("is_last_resort", [True, False])
def test_both_sides_come_to_the_same_key(one_time: bool, is_last_resort: bool) -> None:
    bob = make_device(one_time=one_time, is_last_resort=is_last_resort)

    prefix, begun, answered = establish_session(make_device(), bob)

    assert begun == answered
    assert len(prefix.pack()) == PREFIX_BYTES
    assert prefix.uses_no_one_time_key is (is_last_resort and not one_time)


def test_two_handshakes_share_nothing() -> None:
    alice, bob = make_device(), make_device()

    assert establish_session(alice, bob)[1].root_key != establish_session(alice, bob)[1].root_key


@pytest.mark.parametrize("who", ["initiator", "responder"])
def test_a_side_with_another_address_has_another_key(who: str) -> None:
    alice, bob = make_device(), make_device()
    prefix, begun = begin(alice.device, bob.bundle())

    initiator = alice.address if who == "responder" else Address(uuid4(), 1)
    device = bob.device if who == "initiator" else replace(bob.device, address=Address(uuid4(), 1))

    assert answer(device, initiator, prefix, bob.prekeys).root_key != begun.root_key


def test_each_bit_of_the_prefix_is_bound() -> None:
    alice, bob = make_device(), make_device()
    prefix, begun = begin(alice.device, bob.bundle())
    packed = prefix.pack()

    for at in [*range(179), *range(179, PREFIX_BYTES, 97)]:
        try:
            other = answer(bob.device, alice.address, Prefix.unpack(_flipped(packed, at)), bob.prekeys)
        except Refusal:
            continue
        assert other.root_key != begun.root_key


def _flipped(octets: bytes, at: int) -> bytes:
    return octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]


def _bad(bundle: Bundle) -> list[Bundle]:
    other = make_device().bundle()
    signed, pq = bundle.signed_prekey, bundle.pq_prekey
    return [
        replace(bundle, identity_dh_key=other.identity_dh_key),
        replace(bundle, identity_dh_signature=_flipped(bundle.identity_dh_signature, 40)),
        replace(bundle, identity_dh_signature=b""),
        replace(bundle, identity_key=other.identity_key),
        replace(bundle, signed_prekey=replace(signed, id=9)),
        replace(bundle, signed_prekey=replace(signed, key=other.signed_prekey.key)),
        replace(bundle, signed_prekey=replace(signed, signature=None)),
        replace(bundle, signed_prekey=other.signed_prekey),
        replace(bundle, pq_prekey=replace(pq, id=9)),
        replace(bundle, pq_prekey=other.pq_prekey),
        replace(bundle, pq_is_last_resort=True),
    ]


@pytest.mark.parametrize("which", range(11))
def test_a_bundle_that_was_tampered_with_is_refused(which: int) -> None:
    with pytest.raises(BadSignature):
        begin(make_device().device, _bad(make_device().bundle())[which])


def test_ids_and_lengths_of_a_bundle_are_looked_at() -> None:
    bundle = make_device().bundle()

    with pytest.raises(Malformed):
        replace(bundle, one_time_prekey=PublicPrekey(0, bytes(32))).verify()
    with pytest.raises(BadKey):
        replace(bundle, pq_prekey=replace(bundle.pq_prekey, key=bytes(1567))).verify()
    with pytest.raises(BadKey):
        begin(make_device().device, replace(bundle, one_time_prekey=PublicPrekey(5, bytes(32))))


@pytest.mark.parametrize("key", [*SMALL_ORDER, *NOT_CANONICAL, bytes(31)], ids=lambda key: key.hex()[:16])
@pytest.mark.parametrize("sign", [0, 0x80])
def test_signatures_by_keys_that_prove_nothing_are_refused(key: bytes, sign: int) -> None:
    with pytest.raises(BadKey):
        verify(key[:-1] + bytes([key[-1] | sign]), bytes(64), b"anything")


@pytest.mark.parametrize(
    "theirs", [bytes(32), bytes([1]) + bytes(31), bytes(31), bytes.fromhex("ed" + "ff" * 30 + "7f")]
)
def test_a_secret_of_zeros_is_refused(theirs: bytes) -> None:
    with pytest.raises(BadKey):
        DhPair.generate().agree(theirs)


def test_a_prekey_message_is_checked_from_the_outside_in() -> None:
    alice, bob = make_device(), make_device()
    prefix, begun, _ = establish_session(alice, bob)
    _, embedded = Ratchet.initiator(begun, bob.prekeys.signed.pair.public).seal(b"hello")
    content = prefix.pack() + embedded

    assert split_prekey_message(content) == (prefix, embedded)
    for refusal, bad in (
        (TooLarge, content + bytes(65_536)),
        (Malformed, content[:1_812]),
        (UnknownVersion, b"\x02" + content[1:]),
        (UnknownType, b"\x01\x02" + content[2:]),
        (Malformed, content[:2] + b"\x04" + content[3:]),
        (Malformed, content[:2] + b"\x00" + content[3:]),
        (UnknownVersion, content[:PREFIX_BYTES] + b"\x02" + content[PREFIX_BYTES + 1 :]),
        (UnknownType, content[: PREFIX_BYTES + 1] + b"\x01" + content[PREFIX_BYTES + 2 :]),
    ):
        with pytest.raises(refusal):
            split_prekey_message(bad)


def test_no_secret_stands_in_the_text_of_a_value() -> None:
    alice, _ = make_session_pair()
    texts = (
        repr(alice)
        + repr(DhPair.generate())
        + repr(SigningPair.generate())
        + repr(establish_session(make_device(), make_device()))
    )

    assert repr(alice.root_key) not in texts
    assert "private" not in texts
    assert "seed" not in texts


def test_a_responder_cannot_send_before_it_opened_something() -> None:
    _, bob = make_session_pair()

    with pytest.raises(BadMessage):
        bob.seal(b"too early")
