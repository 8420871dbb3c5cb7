"""Which keys are accepted, and why others are refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.support.xeddsa import LibsignalIdentity
from vyry.devices.key_validation import check_refill, check_upload
from vyry.devices.keyset import Identity, KeyRefill, KeyUpload, OneTimePrekey, SignedPrekey, Suite
from vyry.errors import InvalidKeys


P = 2**255 - 19
#: The order of the group.
L = 2**252 + 27742317777372353535851937790883648493
#: The u of the points of order eight (RFC 7748 names them; Wycheproof tries them).
ORDER_EIGHT = tuple(
    int.from_bytes(bytes.fromhex(u), "little")
    for u in (
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    )
)
KEM_KEY = bytes(1568)

#: Published with libsignal (rust/core/src/curve/curve25519.rs): a signature by this identity over the 33 bytes of a prekey.
PUBLISHED_IDENTITY = bytes.fromhex("05ab7e717d4a163b7d9a1d8071dfe9dcf8cdcd1cea3339b6356be84d887e322c64")
PUBLISHED_PREKEY = bytes.fromhex("05edce9d9c415ca78cb7252e72c2c4a554d3eb29485a0e1d503118d1a82d99fb4a")
PUBLISHED_SIGNATURE = bytes.fromhex(
    "5de88ca9a89b4a115da79109c67c9c7464a3e4180274f1cb8c63c2984e286dfbede82deb9dcd9fae0bfbb821569b3d9001bd8130cd11d486cef047bd60b86e88"
)

Change = Callable[[KeyUpload], KeyUpload]


def vyry_upload() -> KeyUpload:
    """A valid set of suite `vyry`, signed over the labels of docs/signal-protocol.md section 3."""
    identity, dh_key = Ed25519PrivateKey.generate(), fresh_x25519()
    public = identity.public_key().public_bytes_raw()

    def signed(label: bytes, number: int, key: bytes) -> SignedPrekey:
        return SignedPrekey(number, key, identity.sign(label + dh_key + number.to_bytes(4, "big") + key))

    return KeyUpload(
        16380,
        Identity(Suite.VYRY, public, dh_key, identity.sign(b"vyry/1 identity dh\0" + public + dh_key)),
        signed(b"vyry/1 signed prekey\0", 2**31 - 1, fresh_x25519()),
        signed(b"vyry/1 pq last-resort prekey\0", 1, KEM_KEY),
        [OneTimePrekey(number, fresh_x25519()) for number in (1, 2, 9)],
        [signed(b"vyry/1 pq one-time prekey\0", number, KEM_KEY) for number in (1, 5)],
    )


def libsignal_upload() -> KeyUpload:
    """A valid set of suite `libsignal`."""
    identity = LibsignalIdentity()

    def signed(number: int, key: bytes) -> SignedPrekey:
        return SignedPrekey(number, key, identity.sign(key))

    return KeyUpload(
        1,
        Identity(Suite.LIBSIGNAL, identity.public),
        signed(2**24 - 1, b"\x05" + fresh_x25519()),
        signed(1, b"\x08" + KEM_KEY),
        [OneTimePrekey(1, b"\x05" + fresh_x25519())],
        [signed(1, b"\x08" + KEM_KEY), signed(2, b"\x0a" + KEM_KEY)],
    )


def fresh_x25519() -> bytes:
    return X25519PrivateKey.generate().public_key().public_bytes_raw()


def little(number: int) -> bytes:
    return number.to_bytes(32, "little")


@pytest.mark.parametrize("make", [vyry_upload, libsignal_upload])
def test_a_good_set_is_taken(make: Callable[[], KeyUpload]) -> None:
    check_upload(make())


@pytest.mark.parametrize(("private", "sign_bit"), [(bytes([1]) * 32, 0), (bytes([3]) * 32, 1)])
def test_xeddsa_signatures_of_either_sign_are_taken(private: bytes, sign_bit: int) -> None:
    identity = LibsignalIdentity(private)
    signature = identity.sign(PUBLISHED_PREKEY)

    check_refill(
        Identity(Suite.LIBSIGNAL, identity.public),
        KeyRefill(signed_prekey=SignedPrekey(1, PUBLISHED_PREKEY, signature)),
    )

    assert signature[63] >> 7 == sign_bit


def test_the_published_signature_verifies_and_no_other_bit_pattern_does() -> None:
    identity = Identity(Suite.LIBSIGNAL, PUBLISHED_IDENTITY)

    check_refill(identity, KeyRefill(signed_prekey=SignedPrekey(1, PUBLISHED_PREKEY, PUBLISHED_SIGNATURE)))

    for bit in range(512):
        broken = (int.from_bytes(PUBLISHED_SIGNATURE, "little") ^ 1 << bit).to_bytes(64, "little")
        with pytest.raises(InvalidKeys, match="does not verify"):
            check_refill(identity, KeyRefill(signed_prekey=SignedPrekey(1, PUBLISHED_PREKEY, broken)))


def with_identity(**changes: bytes | None) -> Change:
    return lambda upload: replace(upload, identity=replace(upload.identity, **changes))  # type: ignore[arg-type]  # names of fields


def with_signed(name: str, **changes: object) -> Change:
    return lambda upload: replace(upload, **{name: replace(getattr(upload, name), **changes)})


def with_pq(**changes: object) -> Change:
    return lambda upload: replace(upload, pq=[replace(upload.pq[0], **changes), *upload.pq[1:]])  # type: ignore[arg-type]  # names of fields


def with_one_time(*ids: int, key: bytes | None = None) -> Change:
    return lambda upload: replace(
        upload, one_time=[OneTimePrekey(number, key or upload.one_time[0].key) for number in ids]
    )


BOTH_SUITES: list[tuple[str, Change, str]] = [
    ("a registration id of 0", lambda upload: replace(upload, registration_id=0), "registrationId: must be 1 to 16380"),
    ("one too high", lambda upload: replace(upload, registration_id=16381), "registrationId: must be"),
    ("a short identity", with_identity(key=b"\5"), "identityKey: must be"),
    ("another's signed prekey", with_signed("signed_prekey", signature=bytes(64)), "signedPrekey.signature: does not"),
    (
        "a short signature",
        with_signed("signed_prekey", signature=bytes(63)),
        "signedPrekey.signature: must be 64 bytes",
    ),
    ("a last resort for a prekey", with_signed("pq_last_resort", signature=bytes(64)), "pqLastResort.signature: does"),
    ("a short KEM key", with_pq(key=bytes(1567)), "pqPrekeys.0.key: must be"),
    ("a false PQ signature", with_pq(signature=bytes(64)), "pqPrekeys.0.signature: does not verify"),
    ("an id of 0", with_one_time(0), "oneTimePrekeys.0.id: must be 1 to"),
    ("a negative id", with_one_time(-1), "oneTimePrekeys.0.id: must be 1 to"),
    ("an id twice", with_one_time(3, 3), "oneTimePrekeys.1.id: ids must rise"),
    ("falling ids", with_one_time(3, 2), "oneTimePrekeys.1.id: ids must rise"),
    ("ids beyond the last", with_one_time(1, 2**31), "oneTimePrekeys.1.id: must be 1 to"),
    ("a short one-time key", with_one_time(1, key=b"\5" * 31), "oneTimePrekeys.0.key: must be"),
]


@pytest.mark.parametrize("make", [vyry_upload, libsignal_upload])
@pytest.mark.parametrize(
    ("change", "problem"), [case[1:] for case in BOTH_SUITES], ids=[case[0] for case in BOTH_SUITES]
)
def test_a_bad_set_is_refused_with_field_and_reason(
    make: Callable[[], KeyUpload], change: Change, problem: str
) -> None:
    with pytest.raises(InvalidKeys) as refusal:
        check_upload(change(make()))

    assert refusal.value.problem.startswith(problem)
    assert refusal.value.members["fields"][0]["field"] == problem.partition(":")[0]  # type: ignore[index]  # as on the wire


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (with_identity(dh_key=None), "identityDhKey"),
        (with_identity(dh_signature=None), "identityDhKey"),
        (with_identity(dh_key=bytes(31)), "identityDhKey: must be 32 bytes"),
        (with_identity(dh_key=fresh_x25519()), "identityDhSignature: does not verify"),
        (with_identity(dh_signature=bytes(64)), "identityDhSignature: does not verify"),
        (with_signed("signed_prekey", id=7), "signedPrekey.signature: does not verify"),
        (with_pq(id=2), "pqPrekeys.0.signature: does not verify"),
    ],
)
def test_suite_vyry_ties_every_key_to_its_device_and_id(change: Change, problem: str) -> None:
    with pytest.raises(InvalidKeys, match=problem):
        check_upload(change(vyry_upload()))


def test_a_last_resort_does_not_pass_for_a_one_time_prekey() -> None:
    upload = vyry_upload()

    with pytest.raises(InvalidKeys, match=r"pqPrekeys\.0\.signature"):
        check_upload(replace(upload, pq=[upload.pq_last_resort]))


@pytest.mark.parametrize("y", [0, 1, P - 1, P, P + 1, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1 << 255])
def test_an_identity_anybody_can_sign_for_is_refused(y: int, sign: int) -> None:
    with pytest.raises(InvalidKeys, match="identityKey: not a canonical Ed25519 key of large order"):
        check_upload(with_identity(key=little(y | sign))(vyry_upload()))


@pytest.mark.parametrize(
    "y",
    [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ],
)
def test_an_identity_of_order_eight_is_refused(y: str) -> None:
    with pytest.raises(InvalidKeys, match="identityKey"):
        check_upload(with_identity(key=bytes.fromhex(y))(vyry_upload()))


@pytest.mark.parametrize(
    ("u", "problem"),
    [(u, "a point of small order") for u in (0, 1, P - 1, 1 << 255, (1 << 255) + 1, *ORDER_EIGHT)]
    + [(u, "not a canonical Curve25519 key") for u in (P, P + 1, 2**255 - 1, 2**256 - 1)],
)
def test_points_of_small_order_and_strange_spellings_are_refused(u: int, problem: str) -> None:
    with pytest.raises(InvalidKeys, match=rf"oneTimePrekeys\.0\.key: {problem}"):
        check_upload(with_one_time(1, key=little(u))(vyry_upload()))
    with pytest.raises(InvalidKeys, match=rf"oneTimePrekeys\.0\.key: {problem}"):
        check_upload(with_one_time(1, key=b"\5" + little(u))(libsignal_upload()))
    with pytest.raises(InvalidKeys, match=f"identityKey: {problem}"):
        check_upload(with_identity(key=b"\5" + little(u))(libsignal_upload()))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (with_identity(dh_key=bytes(32)), "identityDhKey: suite libsignal has no identityDhKey"),
        (with_identity(key=bytes([6, *range(32)])), "identityKey: the first byte must be 05"),
        (with_identity(key=b"\5" + little(9 + (1 << 255))), "identityKey: not a canonical"),
        (with_one_time(1, key=bytes([4, *range(32)])), "oneTimePrekeys.0.key: the first byte must be 05"),
        (with_one_time(2**24), "oneTimePrekeys.0.id: must be 1 to 16777215"),
        (with_pq(key=b"\x07" + KEM_KEY), "pqPrekeys.0.key: the first byte must be 08"),
        (with_signed("pq_last_resort", id=2**24), "pqLastResort.id: must be 1 to 16777215"),
    ],
)
def test_suite_libsignal_asks_for_typed_keys(change: Change, problem: str) -> None:
    with pytest.raises(InvalidKeys) as refusal:
        check_upload(change(libsignal_upload()))

    assert refusal.value.problem.startswith(problem)


@pytest.mark.parametrize("make", [vyry_upload, libsignal_upload])
def test_a_signature_has_one_spelling(make: Callable[[], KeyUpload]) -> None:
    """S + L satisfies the equation, too: accepting it would make signatures malleable."""
    upload = make()
    signature = upload.signed_prekey.signature
    sign = signature[63] & 0x80 if upload.identity.suite is Suite.LIBSIGNAL else 0
    s = int.from_bytes(signature[32:63] + bytes([signature[63] & 0x7F]), "little")

    for multiple in range(1, 8):
        altered = bytearray(signature[:32] + ((s + multiple * L) % 2**255).to_bytes(32, "little"))
        altered[63] |= sign
        with pytest.raises(InvalidKeys, match=r"signedPrekey\.signature: does not verify"):
            check_upload(with_signed("signed_prekey", signature=bytes(altered))(upload))


@pytest.mark.parametrize("make", [vyry_upload, libsignal_upload])
@pytest.mark.parametrize("r", [0, 1, P - 1, P, 2**255 - 1])
def test_a_signature_over_nothing_is_none(make: Callable[[], KeyUpload], r: int) -> None:
    upload = make()

    for s in (0, 1, L - 1, L):
        for name in ("signed_prekey", "pq_last_resort"):
            with pytest.raises(InvalidKeys, match=r"signature: does not verify"):
                check_upload(with_signed(name, signature=little(r) + little(s))(upload))


def test_no_key_shows_in_a_repr() -> None:
    upload = vyry_upload()

    assert "\\x" not in repr(upload)
    assert repr(upload.identity.key) not in repr(upload)
