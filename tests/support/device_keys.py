"""The keys of a test device, suite `vyry`: real keys and signatures (signal-protocol.md section 3)."""

import base64
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


def base64_text(octets: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(octets).decode()


class DeviceKeys:
    """One device's keys; devices of one account share `identity`."""

    def __init__(self, identity: Ed25519PrivateKey | None = None) -> None:
        self.identity = identity or Ed25519PrivateKey.generate()
        self.identity_dh = X25519PrivateKey.generate()
        self.registration_id = 1 + secrets.randbelow(16380)
        self._issued = {"one-time": 0, "pq": 0, "signed": 0}

    def upload(self, one_time: int = 2, pq: int = 1) -> dict[str, Any]:
        """A whole body for PUT /keys with fresh prekeys; ids rise from upload to upload."""
        dh = self.identity_dh.public_key().public_bytes_raw()
        return {
            "suite": "vyry",
            "registrationId": self.registration_id,
            "identityKey": base64_text(self.identity.public_key().public_bytes_raw()),
            "identityDhKey": base64_text(dh),
            "identityDhSignature": self._sign(
                "identity dh", self.identity.public_key().public_bytes_raw(), signed_over=dh
            ),
            "signedPrekey": self.signed_prekey(),
            "oneTimePrekeys": self.one_time_prekeys(one_time),
            "pqLastResort": self._signed("signed", "pq last-resort prekey", _pq_key()),
            "pqPrekeys": self.pq_prekeys(pq),
        }

    def signed_prekey(self) -> dict[str, Any]:
        """A fresh signed prekey."""
        return self._signed("signed", "signed prekey", X25519PrivateKey.generate().public_key().public_bytes_raw())

    def one_time_prekeys(self, count: int) -> list[dict[str, Any]]:
        """Fresh one-time prekeys."""
        public = [X25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(count)]
        return [{"id": self._next_id("one-time"), "key": base64_text(key)} for key in public]

    def pq_prekeys(self, count: int) -> list[dict[str, Any]]:
        """Fresh post-quantum one-time prekeys."""
        return [self._signed("pq", "pq one-time prekey", _pq_key()) for _ in range(count)]

    def _signed(self, space: str, words: str, key: bytes) -> dict[str, Any]:
        number = self._next_id(space)
        dh = self.identity_dh.public_key().public_bytes_raw()
        signature = self._sign(words, dh, signed_over=number.to_bytes(4, "big") + key)
        return {"id": number, "key": base64_text(key), "signature": signature}

    def _sign(self, words: str, first: bytes, signed_over: bytes) -> str:
        return base64_text(self.identity.sign(b"vyry/1 " + words.encode() + b"\0" + first + signed_over))

    def _next_id(self, space: str) -> int:
        self._issued[space] += 1
        return self._issued[space]


def _pq_key() -> bytes:
    return MLKEM1024PrivateKey.generate().public_key().public_bytes_raw()
