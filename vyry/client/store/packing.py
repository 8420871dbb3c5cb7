"""States of the protocol as bytes, and back: MessagePack of the fields, checked by their types when they come back."""

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import msgpack


if TYPE_CHECKING:
    from pydantic import TypeAdapter


Value = TypeVar("Value")
#: The lists and pins of a group of 1,000 fit in.
_REMEMBERED: Final = 4_096


#: One for each type of value that is kept: there are few.
_ADAPTERS: Final[dict[type[Any], "TypeAdapter[Any]"]] = {}


def _adapter(of: type[Any]) -> "TypeAdapter[Any]":
    if of not in _ADAPTERS:
        # Loaded with the first value: a command that fails before it, or prints its help, needs none of it.
        _ADAPTERS[of] = import_module("pydantic").TypeAdapter(of)
    return _ADAPTERS[of]


def pack(value: object) -> bytes:
    """The byte form of a plain value or frozen dataclass."""
    packed: bytes = msgpack.packb(_adapter(type(value)).dump_python(value), default=_encode_uuid)
    return packed


def unpack(of: type[Value], packed: bytes) -> Value:
    """The value of this type that `pack` made these bytes of. Raises ValueError for anything else."""
    found: Value = _adapter(of).validate_python(msgpack.unpackb(packed, use_list=False, strict_map_key=False))
    return found


@lru_cache(maxsize=_REMEMBERED)
def unpack_cached(of: type[Value], packed: bytes) -> Value:
    """As `unpack`, for values that hold no secret and are read over and over: lists, members. They are remembered by their bytes. Raises ValueError."""
    return unpack(of, packed)


def _encode_uuid(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value).__name__)
