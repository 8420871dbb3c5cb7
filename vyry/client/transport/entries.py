"""Entries of the mailbox as they come: looked at before anything is made of them, for the node may send anything, and would send it again after each reconnect."""

from typing import Any, Final

import orjson

from vyry.client.errors import ChainBroken
from vyry.client.store.mailbox_chain import Entry, MailboxPosition, decode_bytes, parse_timestamp
from vyry.client.transport.validation import INVALID_SHAPE, read_device_id, read_int, read_object, read_text, read_uuid


_LARGEST_BYTE: Final = 255
_HEAD_BYTES: Final = 32
_LONGEST_NAME: Final = 64


def read_entry(said: object) -> Entry:
    """An entry in the form of docs/protocol.md ("Mailbox"). Raises ChainBroken for anything else: nothing can follow from it."""
    try:
        return _validate(read_object(said))
    except INVALID_SHAPE:
        raise ChainBroken("The node sent a malformed mailbox entry.") from None


def read_position(said: object) -> MailboxPosition | None:
    """A place in the mailbox as the node tells it; None for anything else."""
    try:
        told = read_object(said)
        point = MailboxPosition(read_int(told["seq"]), decode_bytes(told["head"]))
    except INVALID_SHAPE:
        return None
    return point if len(point.head) == _HEAD_BYTES else None


def _validate(entry: dict[str, Any]) -> Entry:
    read_int(entry["seq"], 1)
    if len(decode_bytes(entry["head"])) != _HEAD_BYTES:
        raise ValueError("no head")
    if "tombstone" in entry:
        lost = read_object(entry["tombstone"])
        read_int(entry["throughSeq"], 1)
        read_int(lost["count"])
        read_text(lost["reason"], _LONGEST_NAME)
        return entry
    read_uuid(entry["messageId"])
    read_int(parse_timestamp(entry["postedAt"]))
    if "notice" in entry:
        read_text(read_object(entry["notice"])["name"], _LONGEST_NAME)
        # What is no JSON has no digest.
        orjson.dumps(entry["notice"])
        return entry
    read_uuid(entry["conversationId"])
    read_uuid(entry["senderId"])
    read_device_id(entry["senderDeviceId"])
    read_text(entry["lane"], _LONGEST_NAME)
    read_int(entry["kind"], 0, _LARGEST_BYTE)
    decode_bytes(entry["content"])
    return entry
