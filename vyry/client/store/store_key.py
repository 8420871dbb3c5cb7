"""The file `store-key` of a profile: the key of its store, random, wrapped under what opens the profile. So a passphrase is changed, or its price raised, without sealing all values again."""

import os
import secrets
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import orjson
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vyry.client.errors import StoreLocked
from vyry.client.store.store import KEY_BYTES
from vyry.kernel.base64_text import decode_base64, encode_base64
from vyry.signal_protocol.primitives import Z32, hkdf, label


STORE_KEY: Final = "store-key"
_VERSION: Final = 1
_NONCE: Final = 12
_SALT_BYTES: Final = 16
_LABEL: Final = label("store key")
#: Most of what a file may ask for: 4 GiB, so that a changed file cannot fill the memory.
_MAX_MEMORY_KIB: Final = 1 << 22
_MAX_ROUNDS: Final = 64
_MAX_LANES: Final = 64


class UnlockMethod(StrEnum):
    """What opens a profile."""

    KEY = "key"
    PASSPHRASE = "passphrase"  # noqa: S105  # nosec B105 - a word of the file, no secret
    KEYRING = "keyring"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Argon2:
    """How a passphrase makes a key: Argon2id, by default 64 MiB and 3 rounds (RFC 9106 section 4)."""

    salt: bytes
    memory_kib: int = 65_536
    rounds: int = 3
    lanes: int = 4

    @classmethod
    def generate(cls) -> Self:
        """Present parameters and a new salt."""
        return cls(secrets.token_bytes(_SALT_BYTES))

    def derive_key(self, passphrase: str) -> bytes:
        """The key that this passphrase makes."""
        return hash_secret_raw(
            passphrase.encode(), self.salt, self.rounds, self.memory_kib, self.lanes, KEY_BYTES, Type.ID
        )


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """What the file holds. Every field is authenticated: changed, it does not unwrap."""

    opener: UnlockMethod
    #: For a passphrase alone.
    argon2: Argon2 | None
    sealed: bytes = field(repr=False)

    @classmethod
    def wrap(cls, store_key: bytes, opener: UnlockMethod, argon2: Argon2 | None, key: bytes) -> Self:
        """The store key for who has `key`. Raises StoreLocked for one that is no key."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = _cipher(key).encrypt(nonce, store_key, _header(opener, argon2))
        return cls(opener, argon2, nonce + sealed)

    def unwrap(self, key: bytes) -> bytes:
        """The store key. Raises StoreLocked."""
        try:
            header = _header(self.opener, self.argon2)
            return _cipher(key).decrypt(self.sealed[:_NONCE], self.sealed[_NONCE:], header)
        except (InvalidTag, ValueError):
            raise StoreLocked("The key does not open this profile.") from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """What lies in this file. Raises StoreLocked when it is none of these, OSError when it cannot be read."""
        try:
            return cls._parse(orjson.loads(path.read_bytes()))
        except (ValueError, TypeError, KeyError):
            raise StoreLocked(
                f"{path} is no wrapped key of this version: restore it from a copy of the profile."
            ) from None

    @classmethod
    def _parse(cls, said: dict[str, Any]) -> Self:
        if set(said) != {"version", "opener", "argon2", "sealed"} or said["version"] != _VERSION:
            raise ValueError
        opener, argon2 = UnlockMethod(said["opener"]), _parse_argon2(said["argon2"])
        if (opener is UnlockMethod.PASSPHRASE) != (argon2 is not None):
            raise ValueError
        return cls(opener, argon2, decode_base64(said["sealed"]))

    def write(self, path: Path) -> None:
        """Put it in this file, whole or not at all."""
        said = {**_plain_fields(self.opener, self.argon2), "sealed": encode_base64(self.sealed)}
        write_private(path, orjson.dumps(said))


def write_private(path: Path, content: bytes) -> None:
    """Put this in a file of its owner's alone: after a crash the file is as it was before or as it is now, on the disk too. The caller holds the lock of the profile."""
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def file_key(path: Path, *, is_new: bool) -> bytes:
    """The key in this file (0600), which is made for a new profile when it is not there. Raises StoreLocked when it is not there, is no key, or can be read by others."""
    if not path.exists():
        if not is_new:
            raise StoreLocked(
                f"The key of this profile, {path}, is not there: put it back from a copy. Without it nothing opens the profile, and no other key is made."
            )
        write_private(path, secrets.token_bytes(KEY_BYTES))
    if path.stat().st_mode & 0o077:
        raise StoreLocked(f"{path} can be read by others: run `chmod 600 {path}`.")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise StoreLocked(f"{path} is no key of {KEY_BYTES} bytes.")
    return key


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise StoreLocked(f"The key of a profile has {KEY_BYTES} bytes.")
    return AESGCM(hkdf(Z32, key, _LABEL, KEY_BYTES))


def _plain_fields(opener: UnlockMethod, argon2: Argon2 | None) -> dict[str, Any]:
    """What stands beside the wrapped key in clear."""
    shown = None if argon2 is None else {**asdict(argon2), "salt": encode_base64(argon2.salt)}
    return {"version": _VERSION, "opener": opener.value, "argon2": shown}


def _header(opener: UnlockMethod, argon2: Argon2 | None) -> bytes:
    """The same, as it is authenticated."""
    return _LABEL + orjson.dumps(_plain_fields(opener, argon2), option=orjson.OPT_SORT_KEYS)


def _parse_argon2(said: dict[str, Any] | None) -> Argon2 | None:
    if said is None:
        return None
    made = Argon2(**{**said, "salt": decode_base64(said["salt"])})
    bounds = ((made.memory_kib, _MAX_MEMORY_KIB), (made.rounds, _MAX_ROUNDS), (made.lanes, _MAX_LANES))
    if not all(type(each) is int and 1 <= each <= most for each, most in bounds) or made.memory_kib < 8 * made.lanes:
        raise ValueError
    if len(made.salt) != _SALT_BYTES:
        raise ValueError
    return made
