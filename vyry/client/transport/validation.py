"""Values of the node, looked at before they are used: it may answer anything."""

import struct
from typing import Any, Final
from uuid import UUID


#: What the reading of an answer of another shape than docs/protocol.md has can raise.
INVALID_SHAPE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
#: A browser counts up to here, and MessagePack and SQLite take it.
MAX_INT: Final = 2**53 - 1
_MOST_DEVICES: Final = 127
_LARGEST_U32: Final = 2**32 - 1


def read_int(value: object, least: int = 0, most: int = MAX_INT) -> int:
    """A number within these bounds. Raises ValueError for anything else."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{type(value).__name__} is no such number")
    return value


def read_device_id(value: object) -> int:
    """The number of a device. Raises ValueError for anything else."""
    return read_int(value, 1, _MOST_DEVICES)


def read_registration_id(value: object) -> int:
    """The registration id of a device. Raises ValueError for anything else."""
    return read_int(value, 0, _LARGEST_U32)


def read_bool(value: object) -> bool:
    """True or false. Raises ValueError for anything else."""
    if value is True or value is False:
        return value
    raise ValueError(f"{type(value).__name__} is neither true nor false")


def read_uuid(value: object) -> UUID:
    """An id in its one text form. Raises ValueError for anything else."""
    found = UUID(value) if isinstance(value, str) else None
    if found is None or str(found) != value:
        raise ValueError(f"{type(value).__name__} is no id")
    return found


def read_text(value: object, most: int = 256) -> str:
    """A short text. Raises ValueError for anything else."""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{type(value).__name__} is no such text")
    value.encode()
    return value


def read_text_or_none(value: object, most: int = 256) -> str | None:
    """A short text that is for people to read; None for anything else."""
    try:
        return read_text(value, most)
    except ValueError:
        return None


def read_object(value: object) -> dict[str, Any]:
    """An object with names. Raises ValueError for anything else."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{type(value).__name__} is no object")
    return value
