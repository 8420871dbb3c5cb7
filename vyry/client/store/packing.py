"""Values as bytes and back: MessagePack of the fields, validated against their types when read."""

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import msgpack


if TYPE_CHECKING:
    from pydantic import TypeAdapter


Value = TypeVar("Value")
#: Enough for the lists and pins of a group of 1,000.
_CACHE_SIZE: Final = 4_096


#: One for each type of stored value.
_ADAPTERS: Final[dict[type[Any], "TypeAdapter[Any]"]] = {}


def _adapter(kind: type[Any]) -> "TypeAdapter[Any]":
    if kind not in _ADAPTERS:
        # Imported with the first value: a command that only prints its help does not need it.
        _ADAPTERS[kind] = import_module("pydantic").TypeAdapter(kind)
    return _ADAPTERS[kind]


def pack(value: object) -> bytes:
    """The bytes of a plain value or frozen dataclass."""
    packed: bytes = msgpack.packb(_adapter(type(value)).dump_python(value), default=_encode_uuid)
    return packed


def unpack(kind: type[Value], packed: bytes) -> Value:
    """The value of this type that `pack` packed. Raises ValueError for anything else."""
    found: Value = _adapter(kind).validate_python(unpack_plain(packed))
    return found


def unpack_plain(packed: bytes) -> Any:
    """The plain values that `pack` packed, not validated. Raises ValueError for other bytes."""
    return msgpack.unpackb(packed, use_list=False, strict_map_key=False)


@lru_cache(maxsize=_CACHE_SIZE)
def unpack_cached(kind: type[Value], packed: bytes) -> Value:
    """As `unpack`, with a cache by bytes: for values without secrets that are read often, as lists and members. Raises ValueError."""
    return unpack(kind, packed)


def _encode_uuid(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value).__name__)
