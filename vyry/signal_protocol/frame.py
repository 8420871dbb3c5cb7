"""The frame of every content: version and type in front, padding inside the seal (section 6)."""

from enum import IntEnum
from typing import Final

from vyry.signal_protocol.refusals import BadPadding, Malformed, TooLarge, UnknownType, UnknownVersion


VERSION: Final = 1
MAX_CONTENT: Final = 65_536


class ContentType(IntEnum):
    """Byte 1 of a content; the `kind` of its envelope repeats it."""

    PREKEY = 1
    RATCHET = 2
    SENDER_KEY = 3


def content_type(content: bytes) -> ContentType:
    """The type of a content. Raises TooLarge, Malformed, UnknownVersion, UnknownType."""
    if len(content) > MAX_CONTENT:
        raise TooLarge
    if len(content) < 2:
        raise Malformed
    if content[0] != VERSION:
        raise UnknownVersion
    if content[1] not in ContentType.__members__.values():
        raise UnknownType
    return ContentType(content[1])


def check_frame(content: bytes, wanted: ContentType, shortest: int) -> None:
    """Check that this is a content of that type, long enough for its header and tag. Raises as `content_type`."""
    if len(content) > MAX_CONTENT:
        raise TooLarge
    if len(content) < shortest:
        raise Malformed
    if content_type(content) is not wanted:
        raise UnknownType


STEP: Final = 512
MAX_PADDED: Final = 63_488
_MARK: Final = b"\x80"


def pad(plaintext: bytes) -> bytes:
    """PAD: to steps of 512 bytes, so that lengths reveal little. Raises TooLarge for more than 63,487 bytes."""
    if len(plaintext) >= MAX_PADDED:
        raise TooLarge
    marked = plaintext + _MARK
    return marked + bytes(-len(marked) % STEP)


def unpad(padded: bytes) -> bytes:
    """The padded plaintext. Raises BadPadding for anything that `pad` does not make."""
    if not padded or len(padded) % STEP:
        raise BadPadding
    stripped = padded.rstrip(b"\0")
    if not stripped.endswith(_MARK) or len(padded) - len(stripped) >= STEP:
        raise BadPadding
    return stripped[:-1]
