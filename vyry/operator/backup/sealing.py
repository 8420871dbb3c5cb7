"""Seals a stream under a passphrase or under public keys of age, and opens it; the memory does not grow with the stream.

A sealed file is one line of text and an age file (age-encryption.org/v1). The line is `vyry-backup 1 key`, or
`vyry-backup 1 passphrase MEMORY_KIB PASSES SALT`: then argon2id (version 1.3, 4 lanes) makes 32 bytes of passphrase and salt (base64), and they are the
private key of age. age checks every 64 KiB and the end, so a file that was cut or changed anywhere does not open as a whole.
"""

import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import pyrage
from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw

from vyry.kernel.bech32 import encode_bech32
from vyry.operator.backup.errors import BackupError
from vyry.operator.backup.pipe import ThreadedPipe


FORMAT: Final = 1
_MAGIC: Final = b"vyry-backup"
#: The second recommended option of RFC 9106.
_MEMORY_KIB: Final = 64 << 10
_PASSES: Final = 3
_LANES: Final = 4
#: What a file may ask for: 4 GiB, and a minute or so.
_MOST_MEMORY_KIB: Final = 4 << 20
_MOST_PASSES: Final = 16
_SALT_BYTES: Final = 16
_LONGEST_LINE: Final = 200
_PRIVATE_KEY_PREFIX: Final = "AGE-SECRET-KEY-"
NOT_A_BACKUP: Final = "This is not a backup of Vyry, or it is damaged: its first line is not that of a backup."
DAMAGED: Final = "The backup is damaged or cut: use another copy of it."


class WrongKey(BackupError):
    """The passphrase or the private key does not open the file."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What a file is sealed under: its first line, and the public keys."""

    line: bytes
    recipients: Sequence[pyrage.x25519.Recipient]
    #: Opens the file too, as long as this process lives: a file is read again after it was written.
    own_key: pyrage.x25519.Identity = field(default_factory=pyrage.x25519.Identity.generate, repr=False)

    @property
    def unseal(self) -> "Unseal":
        """What opens the file in this process."""
        return Unseal(own_key=self.own_key)


@dataclass(frozen=True, slots=True)
class Unseal:
    """What opens a file: a passphrase, or the text of a file with private keys of age."""

    passphrase: str | None = field(default=None, repr=False)
    private_keys: str | None = field(default=None, repr=False)
    own_key: pyrage.x25519.Identity | None = field(default=None, repr=False)


def seal_with_passphrase(passphrase: str) -> Seal:
    """A seal that the passphrase opens."""
    salt = secrets.token_bytes(_SALT_BYTES)
    line = b"%s %d passphrase %d %d %s\n" % (_MAGIC, FORMAT, _MEMORY_KIB, _PASSES, b64encode(salt))
    return Seal(line, [_derive_key(passphrase, salt, _MEMORY_KIB, _PASSES).to_public()])


def seal_with_public_keys(keys: Sequence[str]) -> Seal:
    """A seal that each of the private keys opens. Raises BackupError for a text that is no public key of age."""
    try:
        recipients = [pyrage.x25519.Recipient.from_str(key) for key in keys]
    except pyrage.RecipientError:
        raise BackupError(
            "This is no public key of age (age1...): make a pair with `vyry backup keygen FILE` or `age-keygen`."
        ) from None
    return Seal(b"%s %d key\n" % (_MAGIC, FORMAT), recipients)


def new_key_pair() -> tuple[str, str]:
    """A private key and its public key, as age writes them."""
    key = pyrage.x25519.Identity.generate()
    return str(key), str(key.to_public())


@contextmanager
def sealing(file: BinaryIO, seal: Seal) -> Iterator[BinaryIO]:
    """A stream; all that is written to it is sealed into `file`, which is complete when the block ends. Raises OSError."""
    file.write(seal.line)
    recipients = [*seal.recipients, seal.own_key.to_public()]
    with ThreadedPipe(lambda source, _: pyrage.encrypt_io(source, file, recipients), is_block_writing=True) as stream:
        yield stream


@contextmanager
def unsealing(file: BinaryIO, unseal: Unseal) -> Iterator[BinaryIO]:
    """The stream that was sealed into `file`. Raises WrongKey, and BackupError for a damaged, cut or newer file: perhaps only at the end of the block."""
    keys = _private_keys(_read_line(file), unseal)

    def open_sealed(_: BinaryIO, target: BinaryIO) -> None:
        try:
            pyrage.decrypt_io(file, target, keys)
        except pyrage.DecryptError as problem:
            if "No matching keys" in str(problem):
                raise WrongKey("The passphrase or private key does not open this backup.") from None
            raise BackupError(DAMAGED) from None
        except OSError:
            raise BackupError(DAMAGED) from None

    with ThreadedPipe(open_sealed, is_block_writing=False) as stream:
        yield stream


def _read_line(file: BinaryIO) -> list[bytes]:
    line = file.readline(_LONGEST_LINE)
    words = line.split()
    if not line.endswith(b"\n") or len(words) < 3 or words[0] != _MAGIC or not words[1].isdigit():
        raise BackupError(NOT_A_BACKUP)
    if int(words[1]) > FORMAT:
        raise BackupError(
            f"The backup has format {int(words[1])}, and this release reads formats up to {FORMAT}: use a newer release of Vyry."
        )
    return words[2:]


def _private_keys(words: Sequence[bytes], unseal: Unseal) -> list[pyrage.x25519.Identity]:
    if unseal.own_key is not None:
        return [unseal.own_key]
    if words == [b"key"]:
        if unseal.private_keys is None:
            raise BackupError("The backup is sealed under a public key: name the file of the private key (--key-file).")
        return _parse_private_keys(unseal.private_keys)
    if unseal.passphrase is None:
        raise BackupError("The backup is sealed under a passphrase: give it at the prompt or by --passphrase-file.")
    try:
        _, memory, passes, salt = words
        parameters = int(memory), int(passes)
        if words[0] != b"passphrase" or parameters[0] > _MOST_MEMORY_KIB or parameters[1] > _MOST_PASSES:
            raise BackupError(NOT_A_BACKUP)
        return [_derive_key(unseal.passphrase, b64decode(salt, validate=True), *parameters)]
    except (ValueError, HashingError):
        raise BackupError(NOT_A_BACKUP) from None


def _parse_private_keys(text: str) -> list[pyrage.x25519.Identity]:
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith(_PRIVATE_KEY_PREFIX)]
    try:
        found = [pyrage.x25519.Identity.from_str(line) for line in lines]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise BackupError("The key file has no private key of age (AGE-SECRET-KEY-1...).")
    return found


def _derive_key(passphrase: str, salt: bytes, memory_kib: int, passes: int) -> pyrage.x25519.Identity:
    secret = hash_secret_raw(passphrase.encode(), salt, passes, memory_kib, _LANES, 32, Type.ID)
    return pyrage.x25519.Identity.from_str(encode_bech32("age-secret-key-", secret).upper())
