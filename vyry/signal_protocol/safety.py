"""What people compare: safety numbers, and fingerprints of device lists (sections 12 and 13)."""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256, sha512
from typing import Final
from uuid import UUID

from vyry.signal_protocol.primitives import label


ROUNDS: Final = 5_200
_HALF: Final = 32
_SCAN_VERSION: Final = b"\x01"
_ROW: Final = struct.Struct(">II32s")


@dataclass(frozen=True, slots=True)
class ListedKeys:
    """A device of an account's device list."""

    device_id: int
    registration_id: int
    identity_dh_key: bytes


def fingerprint(user_id: UUID, identity_key: bytes) -> bytes:
    """F(user): 64 bytes; searching for a match costs 5,200 hashes each."""
    digest = sha512(label("safety number") + identity_key + user_id.bytes + identity_key).digest()
    for _ in range(ROUNDS - 1):
        digest = sha512(digest + identity_key).digest()
    return digest


def digits(octets: bytes) -> str:
    """Six groups of five digits, of the first 30 bytes."""
    return "".join(f"{int.from_bytes(octets[at : at + 5], 'big') % 100_000:05d}" for at in range(0, 30, 5))


def safety_number(one: bytes, other: bytes) -> str:
    """60 digits for two fingerprints, the same on both sides."""
    return "".join(sorted((digits(one), digits(other))))


def qr_payload(own: bytes, theirs: bytes) -> bytes:
    """The payload of the QR code that one side shows."""
    return _SCAN_VERSION + own[:_HALF] + theirs[:_HALF]


def matches_qr(scanned: bytes, own: bytes, theirs: bytes) -> bool:
    """Whether a scanned QR code was shown by the side whose fingerprint is `theirs`."""
    return hmac.compare_digest(scanned, qr_payload(theirs, own))


def device_list_fingerprint(user_id: UUID, identity_key: bytes, devices: Iterable[ListedKeys]) -> bytes:
    """One value for a whole device list."""
    rows = [
        _ROW.pack(each.device_id, each.registration_id, each.identity_dh_key)
        for each in sorted(devices, key=lambda each: each.device_id)
    ]
    head = label("device list") + user_id.bytes + identity_key + struct.pack(">I", len(rows))
    return sha256(head + b"".join(rows)).digest()
