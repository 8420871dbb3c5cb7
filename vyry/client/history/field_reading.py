"""Reads the fields of a frame: every type, length and number is checked before it is used."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from vyry.client.history.errors import Damaged
from vyry.kernel.base64_text import decode_base64
from vyry.kernel.ids import parse_uuid


KEY_BYTES: Final = 32
#: Elements of each list in a frame.
MAX_ITEMS: Final = 1_000
_MAX_NUMBER: Final = 2**53 - 1
Fields = Mapping[str, Any]
Item = TypeVar("Item")


def read_object(value: object) -> Fields:
    """An object. Raises Damaged."""
    if not isinstance(value, dict):
        raise Damaged
    return value


def read_optional(fields: Fields, name: str, read: Callable[[Fields, str], Item]) -> Item | None:
    """A field that may be missing or null. Raises Damaged."""
    return None if fields.get(name) is None else read(fields, name)


def read_number(fields: Fields, name: str) -> int:
    """A number from 0 to 2^53-1. Raises Damaged."""
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise Damaged
    return value


def read_flag(fields: Fields, name: str) -> bool:
    """True or false. Raises Damaged."""
    value = fields.get(name)
    if not isinstance(value, bool):
        raise Damaged
    return value


def read_text(fields: Fields, name: str, limit: int) -> str:
    """A text of at most `limit` characters. Raises Damaged."""
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > limit:
        raise Damaged
    return value


def read_word(fields: Fields, name: str, known: Sequence[str]) -> str:
    """One of the known words. Raises Damaged."""
    value = fields.get(name)
    if not isinstance(value, str) or value not in known:
        raise Damaged
    return value


def read_id(fields: Fields, name: str) -> UUID:
    """An id. Raises Damaged."""
    return parse_id(fields.get(name))


def parse_id(value: object) -> UUID:
    """An id in its canonical text form. Raises Damaged."""
    try:
        return parse_uuid(value)
    except ValueError:
        raise Damaged from None


def read_bytes(fields: Fields, name: str) -> bytes:
    """Bytes in base64. Raises Damaged."""
    value = fields.get(name)
    try:
        found = decode_base64(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None:
        raise Damaged
    return found


def read_key(fields: Fields, name: str) -> bytes:
    """A key or digest, 32 bytes. Raises Damaged."""
    found = read_bytes(fields, name)
    if len(found) != KEY_BYTES:
        raise Damaged
    return found


def read_list(fields: Fields, name: str, limit: int) -> list[Any]:
    """A list of at most `limit` elements. Raises Damaged."""
    value = fields.get(name)
    if not isinstance(value, list) or len(value) > limit:
        raise Damaged
    return value


def read_items(fields: Fields, name: str, read: Callable[[Fields], Item]) -> tuple[Item, ...]:
    """A list of objects, each read by `read`. Raises Damaged."""
    return tuple(read(read_object(each)) for each in read_list(fields, name, MAX_ITEMS))
