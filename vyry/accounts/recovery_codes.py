"""Recovery codes as values: how they are made, and the hash that the database stores."""

import secrets
from dataclasses import dataclass, field
from hashlib import sha256

from vyry.kernel.recovery_code import VALUE_BYTES, InvalidRecoveryCode, encode_recovery_code, parse_recovery_code


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """A recovery code: `text` for its owner, `hash` for the database."""

    text: str = field(repr=False)
    hash: str


def new_recovery_code() -> RecoveryCode:
    """A code of 128 random bits."""
    value = secrets.token_bytes(VALUE_BYTES)
    return RecoveryCode(encode_recovery_code(value), _hash(value))


def _hash(value: bytes) -> str:
    """The stored form of a code. Its 128 random bits need no key, so a recovery does not depend on the pepper."""
    return sha256(b"vyry recovery hash 1\0" + value).hexdigest()


def hash_given_code(text: str) -> str:
    """The hash of a code as it was typed; of a text that is no code, a hash that no code has."""
    try:
        return _hash(parse_recovery_code(text))
    except InvalidRecoveryCode:
        return ""
