"""Validation of uploaded keys: lengths, ids, points and signatures of both suites. Pure functions, slow enough to run in a thread.

Suite `vyry`: Ed25519 over the labels of docs/signal-protocol.md section 3. Suite `libsignal`: XEdDSA over the serialised keys, with the sign bit of the
Edwards point in bit 7 of the last byte of the signature (libsignal's variant). Every error is `InvalidKeys` with the field and the problem.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vyry.devices.keyset import Identity, KeyRefill, KeyUpload, OneTimePrekey, SignedPrekey, Suite
from vyry.errors import InvalidKeys


LAST_REGISTRATION_ID: Final = 16_380
_P: Final = 2**255 - 19
_SIGN_BIT: Final = 1 << 255
_KEM_BYTES: Final = 1568
_SIGNATURE_BYTES: Final = 64


def _little(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text), "little")


#: Edwards y of the points of small order, sign bit cleared: signatures that verify under these can be forged.
_WEAK_Y: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        _little("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        _little("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    }
)
#: Montgomery u of the points of small order: an agreement with one of these is all zeros.
_WEAK_U: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        _little("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        _little("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    }
)


def check_upload(upload: KeyUpload) -> None:
    """Check a set of keys, without the directory. Raises InvalidKeys."""
    _within("registrationId", upload.registration_id, LAST_REGISTRATION_ID)
    rules = _rules(upload.identity)
    rules.check_signed_key("signedPrekey", upload.signed_prekey)
    rules.check_signed_key("pqLastResort", upload.pq_last_resort)
    _check_one_time(rules, upload.one_time, upload.pq)


def check_refill(identity: Identity, refill: KeyRefill) -> None:
    """Check additional keys against the identity of the device. Raises InvalidKeys."""
    rules = _rules(identity)
    if refill.signed_prekey:
        rules.check_signed_key("signedPrekey", refill.signed_prekey)
    if refill.pq_last_resort:
        rules.check_signed_key("pqLastResort", refill.pq_last_resort)
    _check_one_time(rules, refill.one_time, refill.pq)


def invalid_key(field: str, problem: str) -> InvalidKeys:
    """The error for a field."""
    return InvalidKeys(f"{field}: {problem}.", fields=[{"field": field, "problem": problem}])


class _Rules(Protocol):
    """The checks of one suite under one identity. The identity is checked when the rules are made."""

    last_id: int

    def check_dh_key(self, field: str, key: bytes) -> None:
        """Check an unsigned DH key."""

    def check_signed_key(self, field: str, prekey: SignedPrekey) -> None:
        """Check a signed key; `field` determines its kind."""


class _VyryRules:
    last_id = 2**31 - 1

    _labels: Final = {
        "signedPrekey": b"vyry/1 signed prekey\0",
        "pqPrekeys": b"vyry/1 pq one-time prekey\0",
        "pqLastResort": b"vyry/1 pq last-resort prekey\0",
    }

    def __init__(self, identity: Identity) -> None:
        _sized("identityKey", identity.key, 32)
        y = int.from_bytes(identity.key, "little") & ~_SIGN_BIT
        if y >= _P or y in _WEAK_Y:
            raise invalid_key("identityKey", "not a canonical Ed25519 key of large order")
        if identity.dh_key is None or identity.dh_signature is None:
            raise invalid_key("identityDhKey", "suite vyry needs identityDhKey and identityDhSignature")
        self._key = Ed25519PublicKey.from_public_bytes(identity.key)
        self._dh_key = identity.dh_key
        self.check_dh_key("identityDhKey", identity.dh_key)
        statement = b"vyry/1 identity dh\0" + identity.key + identity.dh_key
        _verify(self._key, "identityDhSignature", identity.dh_signature, statement)

    def check_dh_key(self, field: str, key: bytes) -> None:
        _sized(field, key, 32)
        _check_u(field, key)

    def check_signed_key(self, field: str, prekey: SignedPrekey) -> None:
        _within(f"{field}.id", prekey.id, self.last_id)
        if field == "signedPrekey":
            self.check_dh_key(f"{field}.key", prekey.key)
        else:
            _sized(f"{field}.key", prekey.key, _KEM_BYTES)
        label = self._labels[field.partition(".")[0]]
        statement = label + self._dh_key + prekey.id.to_bytes(4, "big") + prekey.key
        _verify(self._key, f"{field}.signature", prekey.signature, statement)


class _LibsignalRules:
    last_id = 2**24 - 1

    def __init__(self, identity: Identity) -> None:
        if identity.dh_key is not None or identity.dh_signature is not None:
            raise invalid_key("identityDhKey", "suite libsignal has no identityDhKey")
        self.check_dh_key("identityKey", identity.key)
        u = int.from_bytes(identity.key[1:], "little")
        if u >= _P:
            raise invalid_key("identityKey", "not a canonical Curve25519 key")
        y = (u - 1) * pow(u + 1, -1, _P) % _P
        #: The two Edwards points over this u, by sign bit.
        self._keys = tuple(
            Ed25519PublicKey.from_public_bytes((y | sign).to_bytes(32, "little")) for sign in (0, _SIGN_BIT)
        )

    def check_dh_key(self, field: str, key: bytes) -> None:
        _sized(field, key, 33)
        if key[0] != 0x05:
            raise invalid_key(field, "the first byte must be 05")
        _check_u(field, key[1:])

    def check_signed_key(self, field: str, prekey: SignedPrekey) -> None:
        _within(f"{field}.id", prekey.id, self.last_id)
        if field == "signedPrekey":
            self.check_dh_key(f"{field}.key", prekey.key)
        else:
            self._check_kem(f"{field}.key", prekey.key)
        _sized(f"{field}.signature", prekey.signature, _SIGNATURE_BYTES)
        last = prekey.signature[63]
        plain = prekey.signature[:63] + bytes([last & 0x7F])
        _verify(self._keys[last >> 7], f"{field}.signature", plain, prekey.key)

    def _check_kem(self, field: str, key: bytes) -> None:
        _sized(field, key, 1 + _KEM_BYTES)
        if key[0] not in {0x08, 0x0A}:
            raise invalid_key(field, "the first byte must be 08 (Kyber-1024) or 0A (ML-KEM-1024)")


def _rules(identity: Identity) -> _Rules:
    return _VyryRules(identity) if identity.suite is Suite.VYRY else _LibsignalRules(identity)


def _check_one_time(rules: _Rules, one_time: Sequence[OneTimePrekey], pq: Sequence[SignedPrekey]) -> None:
    _check_rising("oneTimePrekeys", [prekey.id for prekey in one_time], rules.last_id)
    _check_rising("pqPrekeys", [prekey.id for prekey in pq], rules.last_id)
    for index, prekey in enumerate(one_time):
        rules.check_dh_key(f"oneTimePrekeys.{index}.key", prekey.key)
    for index, signed in enumerate(pq):
        rules.check_signed_key(f"pqPrekeys.{index}", signed)


def _check_rising(field: str, ids: Sequence[int], last: int) -> None:
    before = 0
    for index, number in enumerate(ids):
        _within(f"{field}.{index}.id", number, last)
        if number <= before:
            raise invalid_key(f"{field}.{index}.id", "ids must rise")
        before = number


def _within(field: str, number: int, last: int) -> None:
    if not 1 <= number <= last:
        raise invalid_key(field, f"must be 1 to {last}")


def _sized(field: str, octets: bytes, size: int) -> None:
    if len(octets) != size:
        raise invalid_key(field, f"must be {size} bytes")


def _check_u(field: str, key: bytes) -> None:
    # RFC 7748 ignores the top bit.
    u = int.from_bytes(key, "little") & ~_SIGN_BIT
    if u >= _P:
        raise invalid_key(field, "not a canonical Curve25519 key")
    if u in _WEAK_U:
        raise invalid_key(field, "a point of small order")


def _verify(key: Ed25519PublicKey, field: str, signature: bytes, statement: bytes) -> None:
    _sized(field, signature, _SIGNATURE_BYTES)
    try:
        key.verify(signature, statement)
    except InvalidSignature:
        raise invalid_key(field, "does not verify under identityKey") from None
