"""Secrets that a person writes down and types: groups of four characters of base32, the last of which are check characters.

The alphabet is that of Crockford: without I, L, O and U. Reading tolerates lower case, spaces, hyphens, O for 0, and I or L for 1.
"""

from hashlib import sha256
from typing import Final


_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUP: Final = 4
_BITS: Final = 5
#: Characters of a typed text for each of the code, at most.
_SPACING: Final = 8
_TYPED: Final = str.maketrans("OIL", "011", " -\t\r\n\u00a0\u2010\u2011\u2012\u2013\u2212")


class MistypedCode(ValueError):
    """The text is no code of this length, or a character of it is wrong."""


def encode_groups(content: bytes, groups: int) -> str:
    """The text of these bytes in so many groups, with hyphens between them; what the bytes leave free are check characters."""
    values = _values(content)
    values += _check_values(content, _check_length(len(values), groups))
    text = "".join(_ALPHABET[value] for value in values)
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def decode_groups(text: str, length: int, groups: int) -> bytes:
    """The bytes, `length` of them, of a text that a person typed. Raises MistypedCode."""
    length_limit = _SPACING * groups * _GROUP
    typed = text.upper().translate(_TYPED) if len(text) <= length_limit else ""
    if len(typed) != groups * _GROUP or not all(each in _ALPHABET for each in typed):
        raise MistypedCode
    values = [_ALPHABET.index(each) for each in typed]
    count = -(-length * 8 // _BITS)
    number = 0
    for value in values[:count]:
        number = number << _BITS | value
    content = (number >> count * _BITS - length * 8).to_bytes(length)
    if values != _values(content) + _check_values(content, _check_length(count, groups)):
        raise MistypedCode
    return content


def _values(content: bytes) -> list[int]:
    count = -(-len(content) * 8 // _BITS)
    number = int.from_bytes(content) << count * _BITS - len(content) * 8
    return [number >> _BITS * (count - 1 - place) & 31 for place in range(count)]


def _check_length(count: int, groups: int) -> int:
    length = groups * _GROUP - count
    if length < 1:
        raise ValueError(f"{groups} groups leave no check character")
    return length


def _check_values(content: bytes, length: int) -> list[int]:
    return _values(sha256(b"vyry grouped base32\0" + content).digest())[:length]
