"""Values of the node, looked at before they are used: it may answer anything."""

import struct
from typing import Any, Final
from uuid import UUID


#: What the reading of an answer of another shape than docs/protocol.md has can raise.
STRANGE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error)
#: A browser counts up to here, and MessagePack and SQLite take it.
LARGEST: Final = 2**53 - 1
_MOST_DEVICES: Final = 127
_LARGEST_U32: Final = 2**32 - 1


def whole(value: object, least: int = 0, most: int = LARGEST) -> int:
    """A number within these bounds. Raises ValueError for anything else."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{type(value).__name__} is no such number")
    return value


def device_number(value: object) -> int:
    """The number of a device. Raises ValueError for anything else."""
    return whole(value, 1, _MOST_DEVICES)


def registration_number(value: object) -> int:
    """The registration id of a device. Raises ValueError for anything else."""
    return whole(value, 0, _LARGEST_U32)


def flag(value: object) -> bool:
    """True or false. Raises ValueError for anything else."""
    if value is True or value is False:
        return value
    raise ValueError(f"{type(value).__name__} is neither true nor false")


def identifier(value: object) -> UUID:
    """An id in its one text form. Raises ValueError for anything else."""
    found = UUID(value) if isinstance(value, str) else None
    if found is None or str(found) != value:
        raise ValueError(f"{type(value).__name__} is no id")
    return found


def words(value: object, most: int = 256) -> str:
    """A short text. Raises ValueError for anything else."""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{type(value).__name__} is no such text")
    value.encode()
    return value


def some_words(value: object, most: int = 256) -> str | None:
    """A short text that is for people to read; None for anything else."""
    try:
        return words(value, most)
    except ValueError:
        return None


def body(value: object) -> dict[str, Any]:
    """An object with names. Raises ValueError for anything else."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{type(value).__name__} is no object")
    return value
