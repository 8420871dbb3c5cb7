"""Recovery codes as values: how they are made, and the hash that the database stores."""

import secrets
from dataclasses import dataclass, field
from hashlib import sha256

from vyry.kernel.grouped_base32 import MistypedCode
from vyry.kernel.recovery_code import RECOVERY_CODE


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """A recovery code: `text` for its owner, `hash` for the database."""

    text: str = field(repr=False)
    hash: str


def new_recovery_code() -> RecoveryCode:
    """A code of 128 random bits."""
    value = secrets.token_bytes(RECOVERY_CODE.secret_bytes)
    return RecoveryCode(RECOVERY_CODE.encode(value), _hash(value))


def _hash(value: bytes) -> str:
    """The stored form of a code. Its 128 random bits need no key, so a recovery does not depend on the pepper."""
    return sha256(b"vyry recovery hash 1\0" + value).hexdigest()


def hash_given_code(text: str) -> str:
    """The hash of a code as it was typed; of a text that is no code, a hash that no code has."""
    try:
        return _hash(RECOVERY_CODE.decode(text))
    except MistypedCode:
        return ""
