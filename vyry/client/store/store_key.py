"""The file `store-key` of a profile: the random key of its store, wrapped under what unlocks the profile. So a passphrase or its cost can change without sealing all values again."""

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
_NONCE_BYTES: Final = 12
_SALT_BYTES: Final = 16
_LABEL: Final = label("store key")
#: Limits for a file: 4 GiB, so that a changed file cannot fill the memory.
_MAX_MEMORY_KIB: Final = 1 << 22
_MAX_ROUNDS: Final = 64
_MAX_LANES: Final = 64


class UnlockMethod(StrEnum):
    """How a profile is unlocked."""

    KEY = "key"
    PASSPHRASE = "passphrase"  # noqa: S105  # nosec B105 - a name in the file, no secret
    KEYRING = "keyring"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Argon2:
    """Parameters that derive a key from a passphrase: Argon2id, by default 64 MiB and 3 rounds (RFC 9106 section 4)."""

    salt: bytes
    memory_kib: int = 65_536
    rounds: int = 3
    lanes: int = 4

    @classmethod
    def generate(cls) -> Self:
        """Current parameters and a new salt."""
        return cls(secrets.token_bytes(_SALT_BYTES))

    def derive_key(self, passphrase: str) -> bytes:
        """The key of this passphrase."""
        return hash_secret_raw(
            passphrase.encode(), self.salt, self.rounds, self.memory_kib, self.lanes, KEY_BYTES, Type.ID
        )


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """The contents of the file. Every field is authenticated: if one is changed, it does not unwrap."""

    opener: UnlockMethod
    #: Only for a passphrase.
    argon2: Argon2 | None
    sealed: bytes = field(repr=False)

    @classmethod
    def wrap(cls, store_key: bytes, opener: UnlockMethod, argon2: Argon2 | None, key: bytes) -> Self:
        """The store key, wrapped under `key`. Raises StoreLocked for an invalid key."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = _cipher(key).encrypt(nonce, store_key, _header(opener, argon2))
        return cls(opener, argon2, nonce + sealed)

    def unwrap(self, key: bytes) -> bytes:
        """The store key. Raises StoreLocked."""
        try:
            header = _header(self.opener, self.argon2)
            return _cipher(key).decrypt(self.sealed[:_NONCE_BYTES], self.sealed[_NONCE_BYTES:], header)
        except (InvalidTag, ValueError):
            raise StoreLocked("The key or passphrase of this profile is wrong.") from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """The contents of this file. Raises StoreLocked when they are invalid, OSError when the file cannot be read."""
        try:
            return cls._parse(orjson.loads(path.read_bytes()))
        except (ValueError, TypeError, KeyError):
            raise StoreLocked(
                f"{path} is not a valid encrypted key file: restore it from a backup of the profile."
            ) from None

    @classmethod
    def _parse(cls, fields: dict[str, Any]) -> Self:
        if set(fields) != {"version", "opener", "argon2", "sealed"} or fields["version"] != _VERSION:
            raise ValueError
        opener, argon2 = UnlockMethod(fields["opener"]), _parse_argon2(fields["argon2"])
        if (opener is UnlockMethod.PASSPHRASE) != (argon2 is not None):
            raise ValueError
        return cls(opener, argon2, decode_base64(fields["sealed"]))

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        fields = {**_plain_fields(self.opener, self.argon2), "sealed": encode_base64(self.sealed)}
        write_private(path, orjson.dumps(fields))


def write_private(path: Path, content: bytes) -> None:
    """Write a file for its owner alone: after a crash it has the old or the new content, on the disk too. The caller has the lock of the profile."""
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
    """The key in this file (0600), created for a new profile. Raises StoreLocked when it is missing, invalid, or readable by others."""
    if not path.exists():
        if not is_new:
            raise StoreLocked(
                f"The key file {path} is missing: restore it from a backup. Without it the profile cannot be opened; no new key is created."
            )
        write_private(path, secrets.token_bytes(KEY_BYTES))
    if path.stat().st_mode & 0o077:
        raise StoreLocked(f"{path} is readable by other users: run `chmod 600 {path}`.")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise StoreLocked(f"{path} is not a key of {KEY_BYTES} bytes: restore it from a backup of the profile.")
    return key


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise StoreLocked(f"The profile key must have {KEY_BYTES} bytes.")
    return AESGCM(hkdf(Z32, key, _LABEL, KEY_BYTES))


def _plain_fields(opener: UnlockMethod, argon2: Argon2 | None) -> dict[str, Any]:
    """The fields beside the wrapped key, in clear."""
    shown = None if argon2 is None else {**asdict(argon2), "salt": encode_base64(argon2.salt)}
    return {"version": _VERSION, "opener": opener.value, "argon2": shown}


def _header(opener: UnlockMethod, argon2: Argon2 | None) -> bytes:
    """The same fields, as they are authenticated."""
    return _LABEL + orjson.dumps(_plain_fields(opener, argon2), option=orjson.OPT_SORT_KEYS)


def _parse_argon2(fields: dict[str, Any] | None) -> Argon2 | None:
    if fields is None:
        return None
    argon2 = Argon2(**{**fields, "salt": decode_base64(fields["salt"])})
    bounds = ((argon2.memory_kib, _MAX_MEMORY_KIB), (argon2.rounds, _MAX_ROUNDS), (argon2.lanes, _MAX_LANES))
    if (
        not all(type(each) is int and 1 <= each <= limit for each, limit in bounds)
        or argon2.memory_kib < 8 * argon2.lanes
    ):
        raise ValueError
    if len(argon2.salt) != _SALT_BYTES:
        raise ValueError
    return argon2
