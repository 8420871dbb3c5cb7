"""Entries of the mailbox as they come: looked at before anything is made of them, for the node may send anything, and would send it again after each reconnect."""

from typing import Any, Final

import orjson

from vyry.client.chain import Entry, Point, milliseconds, octets
from vyry.client.refusals import ChainBroken
from vyry.client.shapes import STRANGE, body, device_number, identifier, whole, words


_LARGEST_BYTE: Final = 255
_HEAD_BYTES: Final = 32
_LONGEST_NAME: Final = 64


def read_entry(said: object) -> Entry:
    """An entry in the form of docs/protocol.md ("Mailbox"). Raises ChainBroken for anything else: nothing can follow from it."""
    try:
        return _read(body(said))
    except STRANGE:
        raise ChainBroken("The node sent an entry of the mailbox that has not the form of one.") from None


def read_point(said: object) -> Point | None:
    """A place in the mailbox as the node tells it; None for anything else."""
    try:
        told = body(said)
        point = Point(whole(told["seq"]), octets(told["head"]))
    except STRANGE:
        return None
    return point if len(point.head) == _HEAD_BYTES else None


def _read(entry: dict[str, Any]) -> Entry:
    whole(entry["seq"], 1)
    if len(octets(entry["head"])) != _HEAD_BYTES:
        raise ValueError("no head")
    if "tombstone" in entry:
        lost = body(entry["tombstone"])
        whole(entry["throughSeq"], 1)
        whole(lost["count"])
        words(lost["reason"], _LONGEST_NAME)
        return entry
    identifier(entry["messageId"])
    whole(milliseconds(entry["postedAt"]))
    if "notice" in entry:
        words(body(entry["notice"])["name"], _LONGEST_NAME)
        # What is no JSON has no digest.
        orjson.dumps(entry["notice"])
        return entry
    identifier(entry["conversationId"])
    identifier(entry["senderId"])
    device_number(entry["senderDeviceId"])
    words(entry["lane"], _LONGEST_NAME)
    whole(entry["kind"], 0, _LARGEST_BYTE)
    octets(entry["content"])
    return entry
