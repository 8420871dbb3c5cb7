"""Validates values of the node before they are used: the node may send anything, and would send a bad mailbox entry again after each reconnect."""

import struct
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.errors import ChainBroken
from vyry.client.store.mailbox_chain import Entry, MailboxPosition, decode_bytes, parse_timestamp
from vyry.kernel.ids import parse_uuid


#: Errors of reading a response of another shape than docs/protocol.md.
INVALID_SHAPE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
#: The largest integer that browsers, MessagePack and SQLite all handle.
MAX_INT: Final = 2**53 - 1
MAX_DEVICE_ID: Final = 127
_MAX_U32: Final = 2**32 - 1


def read_int(value: object, least: int = 0, most: int = MAX_INT) -> int:
    """A number within these bounds. Raises ValueError for anything else."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{type(value).__name__} is not an integer in range")
    return value


def read_seconds(value: object, most: float) -> float:
    """A number of seconds from 0 to `most`. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{type(value).__name__} is not a number of seconds in range")
    return float(value)


def read_device_id(value: object) -> int:
    """The id of a device. Raises ValueError for anything else."""
    return read_int(value, 1, MAX_DEVICE_ID)


def read_registration_id(value: object) -> int:
    """The registration id of a device. Raises ValueError for anything else."""
    return read_int(value, 0, _MAX_U32)


def read_bool(value: object) -> bool:
    """True or false. Raises ValueError for anything else."""
    if value is True or value is False:
        return value
    raise ValueError(f"{type(value).__name__} is not a boolean")


def read_uuid(value: object) -> UUID:
    """An id in its canonical text form. Raises ValueError for anything else."""
    return parse_uuid(value)


def read_text(value: object, most: int = 256) -> str:
    """A short text. Raises ValueError for anything else."""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{type(value).__name__} is not a short text")
    value.encode()
    return value


def read_text_or_none(value: object, most: int = 256) -> str | None:
    """A short display text; None for anything else."""
    try:
        return read_text(value, most)
    except ValueError:
        return None


def read_object(value: object) -> dict[str, Any]:
    """An object with text keys. Raises ValueError for anything else."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{type(value).__name__} is not an object")
    return value


_MAX_BYTE: Final = 255
_HEAD_BYTES: Final = 32
_MAX_NAME: Final = 64


def read_entry(value: object) -> Entry:
    """An entry as docs/protocol.md ("Mailbox") has it. Raises ChainBroken for anything else."""
    try:
        return _validate(read_object(value))
    except INVALID_SHAPE:
        raise ChainBroken("The node sent a malformed mailbox entry.") from None


def read_position(value: object) -> MailboxPosition | None:
    """A mailbox position as the node reports it; None for anything else."""
    try:
        fields = read_object(value)
        position = MailboxPosition(read_int(fields["seq"]), decode_bytes(fields["head"]))
    except INVALID_SHAPE:
        return None
    return position if len(position.head) == _HEAD_BYTES else None


def _validate(entry: dict[str, Any]) -> Entry:
    read_int(entry["seq"], 1)
    if len(decode_bytes(entry["head"])) != _HEAD_BYTES:
        raise ValueError("no head")
    if "tombstone" in entry:
        lost = read_object(entry["tombstone"])
        read_int(entry["throughSeq"], 1)
        read_int(lost["count"])
        read_text(lost["reason"], _MAX_NAME)
        return entry
    read_uuid(entry["messageId"])
    read_int(parse_timestamp(entry["postedAt"]))
    if "notice" in entry:
        read_text(read_object(entry["notice"])["name"], _MAX_NAME)
        # Raises for a notice without a digest: one that JSON cannot express.
        orjson.dumps(entry["notice"])
        return entry
    read_uuid(entry["conversationId"])
    read_uuid(entry["senderId"])
    read_device_id(entry["senderDeviceId"])
    read_text(entry["lane"], _MAX_NAME)
    read_int(entry["kind"], 0, _MAX_BYTE)
    decode_bytes(entry["content"])
    return entry
