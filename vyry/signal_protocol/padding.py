"""Padding to steps of 512 bytes, so that lengths say little."""

from typing import Final

from vyry.signal_protocol.refusals import BadPadding, TooLarge


STEP: Final = 512
MAX_PADDED: Final = 63_488
_MARK: Final = b"\x80"


def pad(plaintext: bytes) -> bytes:
    """PAD. Raises TooLarge for more than 63,487 bytes."""
    if len(plaintext) >= MAX_PADDED:
        raise TooLarge
    marked = plaintext + _MARK
    return marked + bytes(-len(marked) % STEP)


def unpad(padded: bytes) -> bytes:
    """What was padded. Raises BadPadding for anything that `pad` does not make."""
    if not padded or len(padded) % STEP:
        raise BadPadding
    stripped = padded.rstrip(b"\0")
    if not stripped.endswith(_MARK) or len(padded) - len(stripped) >= STEP:
        raise BadPadding
    return stripped[:-1]
