"""XEdDSA signatures as libsignal makes them, in plain Python: for tests only (slow, and not in constant time)."""

import secrets
from hashlib import sha512

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_Point = tuple[int, int]
_BASE: _Point = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)


class LibsignalIdentity:
    """A Curve25519 key pair that signs."""

    def __init__(self, private: bytes | None = None) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private or secrets.token_bytes(32))
        #: As on the wire: 05, then the u coordinate.
        self.public = b"\x05" + self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """R and s, with the sign of the Edwards point in the top bit of byte 63."""
        raw = bytearray(self._private.private_bytes_raw())
        raw[0] &= 248
        raw[31] = raw[31] & 127 | 64
        scalar = int.from_bytes(raw, "little")
        point = _encoded(_times(scalar, _BASE))
        nonce = secrets.randbelow(_ORDER)
        commitment = _encoded(_times(nonce, _BASE))
        challenge = int.from_bytes(sha512(commitment + point + message).digest(), "little")
        signature = bytearray(commitment + ((nonce + challenge * scalar) % _ORDER).to_bytes(32, "little"))
        signature[63] |= point[31] & 0x80
        return bytes(signature)


def _add(one: _Point, two: _Point) -> _Point:
    product = _D * one[0] * two[0] * one[1] * two[1] % _P
    x = (one[0] * two[1] + two[0] * one[1]) * pow(1 + product, -1, _P)
    y = (one[1] * two[1] + one[0] * two[0]) * pow(1 - product, -1, _P)
    return x % _P, y % _P


def _times(scalar: int, point: _Point) -> _Point:
    total = (0, 1)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _encoded(point: _Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")
