"""The two encodings of frames: `vyry.v1.json` (bytes are base64) and `vyry.v1.msgpack` (bytes are bin)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgpack
import msgspec

from vyry.errors import InvalidRequest
from web.bodies import parse_json_unchecked
from web.wire.fast_frames import FastFrame, read_json_frame, read_msgpack_frame
from web.wire.shapes import encode_json


@dataclass(frozen=True, slots=True)
class Codec:
    """Encoder and decoder of one subprotocol."""

    name: str
    is_text: bool
    #: Bytes in a payload become base64 or bin, UUIDs text.
    encode: Callable[[object], bytes]
    #: Raises InvalidRequest for malformed input and duplicate keys. Depth and ranges are not checked: see `check_values`.
    decode: Callable[[bytes], object]
    #: The most frequent frames, read and checked in one step; None for every other frame.
    read_fast: Callable[[bytes], FastFrame | None]


def _decode_msgpack(raw: bytes) -> object:
    try:
        value: object = msgpack.unpackb(raw, ext_hook=_no_extension, strict_map_key=True)
        # A map with duplicate keys repacks shorter than its input. So does input that is not in the shortest form, so duplicates are then checked key by key.
        if len(msgpack.packb(value)) != len(raw):
            value = msgpack.unpackb(
                raw, object_pairs_hook=_reject_duplicate_names, ext_hook=_no_extension, strict_map_key=True
            )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.exceptions.UnpackException):
        raise InvalidRequest("This is not one valid MessagePack value.") from None
    return value


def _reject_duplicate_names(pairs: list[tuple[object, object]]) -> dict[object, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidRequest("A MessagePack map has a duplicate key.")
    return found


def _no_extension(_code: int, _raw: bytes) -> object:
    raise InvalidRequest("MessagePack extension types are not allowed.")


JSON: Final = Codec(
    name="vyry.v1.json",
    is_text=True,
    encode=encode_json,
    decode=parse_json_unchecked,
    read_fast=read_json_frame,
)
MSGPACK: Final = Codec(
    name="vyry.v1.msgpack",
    is_text=False,
    encode=msgspec.msgpack.Encoder().encode,
    decode=_decode_msgpack,
    read_fast=read_msgpack_frame,
)
CODECS: Final = {codec.name: codec for codec in (JSON, MSGPACK)}
