"""The seal of an archive: AES-256-GCM over each frame, with the number of the frame and a flag for the last one in the nonce (STREAM).

A frame that was changed, moved, repeated or left out does not open, nor does an archive whose end is missing. A reader may stop after any frame and go on there later.
"""

import secrets
import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vyry.client.history.errors import CutArchive, Damaged, MistypedKey, NewerArchive, NotAnArchive, WrongKey
from vyry.kernel.grouped_base32 import GroupedBase32, MistypedCode
from vyry.signal_protocol.primitives import KEY_BYTES, TAG_BYTES, hkdf, label


MAGIC: Final = b"VYRYHIST"
VERSION: Final = 1
SALT_BYTES: Final = 32
CHECK_BYTES: Final = 16
#: Magic, version, salt, key check.
PREFIX_BYTES: Final = len(MAGIC) + 1 + SALT_BYTES + CHECK_BYTES
LENGTH_BYTES: Final = 4
#: Bytes of a frame, at most; checked before they are read.
MAX_FRAME: Final = 1 << 20
#: 14 groups of four characters.
_RECOVERY_KEY: Final = GroupedBase32(label=b"vyry recovery key 1\0", secret_bytes=KEY_BYTES, check_bytes=3)
_LAST: Final = 1 << 31
_NONCE: Final = struct.Struct(">7xIB")
_MAX_NUMBER: Final = 2**32 - 1


def new_recovery_key() -> bytes:
    """A new key, 256 random bits."""
    return secrets.token_bytes(KEY_BYTES)


def show_recovery_key(key: bytes) -> str:
    """The key as a person writes it down."""
    return _RECOVERY_KEY.encode(key)


def read_recovery_key(text: str) -> bytes:
    """The key that a person typed. Raises MistypedKey."""
    try:
        return _RECOVERY_KEY.decode(text)
    except MistypedCode:
        raise MistypedKey from None


class FrameSealer:
    """Seals the frames of one archive, in order."""

    def __init__(self, key: bytes, salt: bytes | None = None) -> None:
        salt = salt or secrets.token_bytes(SALT_BYTES)
        #: The bytes before the first frame.
        self.prefix: Final = MAGIC + bytes((VERSION,)) + salt + _key_check(key, salt)
        self._aead = _cipher(key, salt)
        self._number = 0

    def seal(self, frame: bytes, *, is_last: bool = False) -> bytes:
        """The frame as it stands in the archive. Raises Damaged for one that no reader would take."""
        if len(frame) > MAX_FRAME or self._number > _MAX_NUMBER:
            raise Damaged("The history is too large for one archive.")
        length = (len(frame) + TAG_BYTES | (_LAST if is_last else 0)).to_bytes(LENGTH_BYTES)
        sealed = self._aead.encrypt(_NONCE.pack(self._number, is_last), frame, self.prefix + length)
        self._number += 1
        return length + sealed


class FrameOpener:
    """Opens the frames of one archive, in order, from frame `number` on. Raises NotAnArchive, NewerArchive, WrongKey."""

    def __init__(self, key: bytes, prefix: bytes, number: int = 0) -> None:
        if len(prefix) < PREFIX_BYTES:
            raise (CutArchive if prefix and MAGIC.startswith(prefix[: len(MAGIC)]) else NotAnArchive)
        if not prefix.startswith(MAGIC):
            raise NotAnArchive
        if prefix[len(MAGIC)] != VERSION:
            raise NewerArchive
        salt = prefix[len(MAGIC) + 1 : -CHECK_BYTES]
        if not secrets.compare_digest(_key_check(key, salt), prefix[-CHECK_BYTES:]):
            raise WrongKey
        self._prefix = prefix
        self._aead = _cipher(key, salt)
        #: The number of the next frame.
        self.number = number

    def sealed_size(self, length: bytes) -> int:
        """How many bytes follow these four. Raises CutArchive, Damaged."""
        if len(length) < LENGTH_BYTES:
            raise CutArchive
        size = int.from_bytes(length) & ~_LAST
        if not TAG_BYTES < size <= MAX_FRAME + TAG_BYTES:
            raise Damaged
        return size

    def open(self, length: bytes, sealed: bytes) -> tuple[bytes, bool]:
        """The next frame, and whether it is the last. Raises CutArchive, Damaged."""
        if len(sealed) < self.sealed_size(length):
            raise CutArchive
        is_last = bool(length[0] & 0x80)
        try:
            nonce = _NONCE.pack(self.number, is_last)
            frame = self._aead.decrypt(nonce, sealed, self._prefix + length)
        except (InvalidTag, struct.error):
            raise Damaged from None
        self.number += 1
        return frame, is_last


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hkdf(salt, key, label("history frames"), KEY_BYTES))


def _key_check(key: bytes, salt: bytes) -> bytes:
    """Shows that a key belongs to an archive, without a frame."""
    return hkdf(salt, key, label("history key check"), CHECK_BYTES)
