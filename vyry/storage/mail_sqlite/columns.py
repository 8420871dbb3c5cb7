"""How values lie in the columns of the mail tables on SQLite: lists of numbers, moments, lists given to a statement."""

import struct
from collections.abc import Iterable, Sequence

import orjson

from vyry.kernel.time import from_milliseconds as moment


__all__ = ["json_list", "moment", "pack_numbers", "unpack_numbers"]


def json_list(values: Iterable[int] | Iterable[str] | Iterable[tuple[int, int]]) -> str:
    """One parameter that stands for many: `IN (SELECT value FROM json_each(?))` keeps the statement's text, and so its plan, the same."""
    return orjson.dumps(list(values)).decode()


def pack_numbers(numbers: Sequence[int]) -> bytes:
    """Big-endian 8-byte integers, one after the other."""
    return struct.pack(f">{len(numbers)}q", *numbers)


def unpack_numbers(packed: bytes) -> list[int]:
    """What `pack_numbers` packed."""
    return list(struct.unpack(f">{len(packed) // 8}q", packed))
