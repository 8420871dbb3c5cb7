"""The cryptography of Web Push: the encrypted body (RFC 8188, 8291), and the signature that identifies the node (VAPID, RFC 8292)."""

import base64
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from vyry.clock import Clock
from vyry.kernel.atomic_files import create_file
from vyry.kernel.time import to_milliseconds


_RECORD_OCTETS: Final = 4096
#: The last record of a body ends so (RFC 8188 section 2).
_LAST: Final = b"\x02"
#: At most 24 hours (RFC 8292 section 2). One token serves all pushes to a service for half of that.
_TOKEN_LIFE: Final = timedelta(hours=12)
#: Of so many push services a signature is remembered.
_MAX_CACHED: Final = 1_000


def encrypt_push(content: bytes, p256dh: bytes, auth: bytes) -> bytes:
    """The body that only the holder of the subscription's keys can decrypt, by aes128gcm with a single-use key."""
    return encrypt_push_with(content, (p256dh, auth), generate_private_key(SECP256R1()), secrets.token_bytes(16))


def encrypt_push_with(
    content: bytes, subscription: tuple[bytes, bytes], own: EllipticCurvePrivateKey, salt: bytes
) -> bytes:
    """`encrypt_push` with its random parts given, for the test vector of RFC 8291."""
    p256dh, auth = subscription
    own_point = public_point(own)
    shared = own.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(SECP256R1(), p256dh))
    keyed = _derive(shared, auth, b"WebPush: info\0" + p256dh + own_point, 32)
    key = _derive(keyed, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(keyed, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + _RECORD_OCTETS.to_bytes(4, "big") + bytes([len(own_point)]) + own_point
    return header + AESGCM(key).encrypt(nonce, content + _LAST, None)


def public_point(key: EllipticCurvePrivateKey) -> bytes:
    """The public key as an uncompressed point."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


class VapidSigner:
    """The node's key for push services; browsers bind subscriptions to its public key."""

    def __init__(self, pem: bytes, contact: str | None, clock: Clock) -> None:
        """Raises ValueError unless `pem` is a private key of P-256."""
        key = load_pem_private_key(pem, None)
        if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
            raise ValueError("no private key of P-256")  # noqa: TRY004  as for any other text
        self._key = key
        self.public_key = public_point(key)
        self._contact = {"sub": contact} if contact else {}
        self._clock = clock
        self._signed: dict[str, tuple[str, int]] = {}

    def authorization(self, origin: str) -> str:
        """The header for a request to this origin."""
        now = to_milliseconds(self._clock.now()) // 1000
        life = int(_TOKEN_LIFE.total_seconds())
        signed, ends_at = self._signed.get(origin, ("", 0))
        if not now < ends_at - life // 2 < now + life:
            if len(self._signed) >= _MAX_CACHED:
                self._signed.clear()
            signed = jwt.encode({"aud": origin, "exp": now + life, **self._contact}, self._key, algorithm="ES256")
            self._signed[origin] = signed, now + life
        return f"vapid t={signed}, k={base64.urlsafe_b64encode(self.public_key).decode().rstrip('=')}"


def create_vapid_key(path: Path) -> bool:
    """Create the key file; returns False if it exists."""
    if path.exists():
        return False
    key = generate_private_key(SECP256R1())
    return create_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
