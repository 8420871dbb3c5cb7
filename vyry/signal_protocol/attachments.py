"""Attachments: sealed and opened as a stream, in constant memory (section 10)."""

import hmac
import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from vyry.signal_protocol.primitives import TAG_BYTES, Z32, hkdf, label, seal, unseal
from vyry.signal_protocol.refusals import AttachmentBroken, AttachmentTruncated, BadMessage, UnknownVersion


CHUNK_BYTES: Final = 65_536
HEADER: Final = b"\x01\x10"
_SMALLEST: Final = 512
_NONCE_END: Final = struct.Struct(">IB")


def padded_size(size: int) -> int:
    """Padme: 512, or at most 12 % more than the size (PURBs, Nikitin et al. 2019, section 4)."""
    if size <= _SMALLEST:
        return _SMALLEST
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step


def sealed_size(size: int) -> int:
    """The length of the blob of a file of this size."""
    padded = padded_size(size)
    return len(HEADER) + padded + TAG_BYTES * -(-padded // CHUNK_BYTES)


def derive(key: bytes) -> tuple[bytes, bytes]:
    """AES key and the 7-byte prefix of all nonces, for the key of one upload."""
    both = hkdf(Z32, key, label("attachment"), 39)
    return both[:32], both[32:]


class AttachmentSealer:
    """Seals one file; `size` and `digest` go into its pointer once it is finished. Never seal other bytes under a used key."""

    def __init__(self, key: bytes) -> None:
        self._key, self._prefix = derive(key)
        self._waiting = bytearray()
        self._number = 0
        self._hash = sha256()
        self._is_headed = False
        self.size = 0

    @property
    def digest(self) -> bytes:
        """SHA-256 of all blob bytes so far."""
        return self._hash.digest()

    def update(self, data: bytes) -> Iterator[bytes]:
        """Blob bytes for more of the file; the last full chunk is kept back, because it may be the final one."""
        self.size += len(data)
        yield from self._add(data)

    def finish(self) -> Iterator[bytes]:
        """The rest of the blob."""
        left = padded_size(self.size) - self.size
        while True:
            zeros = min(left, CHUNK_BYTES)
            yield from self._add(bytes(zeros))
            left -= zeros
            if not left:
                break
        yield self._seal_chunk(bytes(self._waiting), is_last=True)

    def _add(self, data: bytes) -> Iterator[bytes]:
        if not self._is_headed:
            self._is_headed = True
            self._hash.update(HEADER)
            yield HEADER
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:
            yield self._seal_chunk(bytes(self._waiting[:CHUNK_BYTES]), is_last=False)
            del self._waiting[:CHUNK_BYTES]

    def _seal_chunk(self, plain: bytes, *, is_last: bool) -> bytes:
        sealed = seal(self._key, self._prefix + _NONCE_END.pack(self._number, is_last), plain, HEADER)
        self._number += 1
        self._hash.update(sealed)
        return sealed


class AttachmentOpener:
    """Opens a file of this size and digest. Its output is complete and verified only once `finish` has returned."""

    def __init__(self, key: bytes, size: int, digest: bytes) -> None:
        self._key, self._prefix = derive(key)
        self._digest = digest
        self._hash = sha256()
        self._waiting = bytearray()
        self._number = 0
        self._is_headed = False
        self._padded_left = padded_size(size)
        self._left = size

    def update(self, data: bytes) -> Iterator[bytes]:
        """File bytes from more of the blob. Raises UnknownVersion, AttachmentBroken."""
        self._hash.update(data)
        self._waiting += data
        if not self._is_headed:
            if len(self._waiting) < len(HEADER):
                return
            if not self._waiting.startswith(HEADER):
                raise UnknownVersion
            del self._waiting[: len(HEADER)]
            self._is_headed = True
        while self._padded_left and len(self._waiting) >= self._next():
            yield self._open_chunk()
        if not self._padded_left and self._waiting:
            raise AttachmentBroken

    def finish(self) -> None:
        """All bytes of the blob were given. Raises AttachmentTruncated, AttachmentBroken."""
        if self._padded_left:
            raise AttachmentTruncated
        if not hmac.compare_digest(self._hash.digest(), self._digest):
            raise AttachmentBroken

    def _next(self) -> int:
        return min(self._padded_left, CHUNK_BYTES) + TAG_BYTES

    def _open_chunk(self) -> bytes:
        length = self._next()
        sealed = bytes(self._waiting[:length])
        del self._waiting[:length]
        self._padded_left -= length - TAG_BYTES
        nonce = self._prefix + _NONCE_END.pack(self._number, not self._padded_left)
        self._number += 1
        try:
            plain = unseal(self._key, nonce, sealed, HEADER)
        except BadMessage:
            raise AttachmentBroken from None
        mine = plain[: self._left]
        if plain[len(mine) :].strip(b"\0"):
            raise AttachmentBroken
        self._left -= len(mine)
        return mine
