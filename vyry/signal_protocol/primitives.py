"""The primitives of section 1, by the library `cryptography`, with the checks that the protocol adds. Keys are raw bytes, so that every state is a plain value."""

import hmac
import struct
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey, MLKEM1024PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vyry.signal_protocol.refusals import BadKey, BadMessage, BadSignature


Z32: Final = bytes(32)
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
TAG_BYTES: Final = 16
KEM_KEY_BYTES: Final = 1568
KEM_CIPHERTEXT_BYTES: Final = 1568

_FIELD: Final = 2**255 - 19
#: y of the points of small order, bit 255 cleared (section 1).
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)
_ADDRESS: Final = struct.Struct(">16sI")


def label(words: str) -> bytes:
    """L(words): separates the uses of one key. No label is a prefix of another."""
    return b"vyry/1 " + words.encode("ascii") + b"\0"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A device of an account."""

    user_id: UUID
    device_id: int

    def pack(self) -> bytes:
        """ADDR(device), 20 bytes."""
        return _ADDRESS.pack(self.user_id.bytes, self.device_id)


@dataclass(frozen=True, slots=True)
class DhPair:
    """An X25519 pair."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def generate(cls) -> Self:
        """A new pair."""
        return cls.from_private(X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_private(cls, private: bytes) -> Self:
        """The pair of this private key."""
        return cls(private, X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())

    def agree(self, theirs: bytes) -> bytes:
        """DH(own, theirs). Raises BadKey for an invalid key or a secret of zeros."""
        try:
            return X25519PrivateKey.from_private_bytes(self.private).exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError:
            raise BadKey from None


@dataclass(frozen=True, slots=True)
class SigningPair:
    """An Ed25519 pair; the private key is its 32-byte seed."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def generate(cls) -> Self:
        """A new pair."""
        return cls.from_private(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_private(cls, private: bytes) -> Self:
        """The pair of this seed."""
        return cls(private, Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """SIGN, 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.private).sign(message)


def check_signing_key(public: bytes) -> None:
    """Raises BadKey for a key under which signatures prove nothing: not canonical, or of small order."""
    if len(public) != KEY_BYTES or not _is_canonical_and_large(public):
        raise BadKey


def _is_canonical_and_large(point: bytes) -> bool:
    y = int.from_bytes(point, "little") & (2**255 - 1)
    return y < _FIELD and y not in _SMALL_ORDER


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """VERIFY: the same result in every client, whatever its library accepts. Raises BadKey, BadSignature."""
    check_signing_key(public)
    # WebCrypto refuses an R of small order, OpenSSL does not. The library refuses every other non-canonical R: it compares bytes.
    if not _is_canonical_and_large(signature[:KEY_BYTES]):
        raise BadSignature
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise BadSignature from None


@dataclass(frozen=True, slots=True)
class KemPair:
    """An ML-KEM-1024 pair; the private key is its 64-byte seed."""

    seed: bytes = field(repr=False)
    public: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A new pair."""
        return cls.from_seed(MLKEM1024PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The pair of this seed."""
        return cls(seed, MLKEM1024PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw())

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The secret of a ciphertext; a random-looking other one when it was made for another key."""
        return MLKEM1024PrivateKey.from_seed_bytes(self.seed).decapsulate(ciphertext)


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """A secret shared with the owner of a KEM key, and its ciphertext."""

    ciphertext: bytes = field(repr=False)
    secret: bytes = field(repr=False)


def encapsulate(public: bytes) -> Encapsulated:
    """A new secret for the owner of this KEM key. Raises BadKey."""
    try:
        secret, ciphertext = MLKEM1024PublicKey.from_public_bytes(public).encapsulate()
    except ValueError:
        raise BadKey from None
    return Encapsulated(ciphertext, secret)


def hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256, extract and expand."""
    return HKDF(SHA256(), length, salt, info).derive(secret)


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.digest(key, message, "sha256")


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM, the tag behind the ciphertext."""
    return AESGCM(key).encrypt(nonce, plaintext, associated)


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """OPEN. Raises BadMessage."""
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except (InvalidTag, ValueError):
        raise BadMessage from None
